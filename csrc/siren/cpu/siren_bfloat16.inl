// Training with products in bfloat16, summed in float32. Phase, loss and every sum stay float32.
// Layouts are those of siren_kernel.inl, but activations and deltas are pairs of bfloat16, in one
// or both of two forms: "rows" [pixel][feature / 2] pairs neighbouring features, for products that
// sum over features; "pairs" [pixel / 2][feature] pairs neighbouring pixels, for sums over pixels.
// The including unit brings a vector of sixteen floats, the layouts of pairs, and the products of a
// tile.

#include "simd/sincos.h"
#include "siren/cpu/kernel_table.h"

namespace {

using tcnn_codec::Bfloat16Kernels;

// Pairs of so many features, as products over them take them.
INLINE int pairs_of(int features) { return (features + kDepth - 1) / kDepth * (kDepth / 2); }

template <int VECTORS>
struct Bfloat16Tiles {
  static INLINE int vectors(const PackedNet& net) {
    return VECTORS ? VECTORS : net.stride / Vec::lanes;
  }
  static INLINE ptrdiff_t stride(const PackedNet& net) {
    return ptrdiff_t(vectors(net)) * Vec::lanes;
  }
  // Words of a tile of one layer, in either form.
  static INLINE ptrdiff_t layer_words(const PackedNet& net) { return kTile / 2 * stride(net); }
  static INLINE ptrdiff_t weight_words(const PackedNet& net) {
    return pairs_of(net.shape.width) * stride(net);
  }

  // Sine and cosine of two pixels' phases at vector n of their layer.
  static INLINE void activate(Vec low, Vec high, Pair* rows, Pair* pairs, Pair* cosines, int m,
                              int n, ptrdiff_t row) {
    const SinCos<Vec> a = coarse_sincos_half_turns(low), b = coarse_sincos_half_turns(high);
    const Rounded sines = round_both(a.sine, b.sine);
    Pair* at = rows + m * (row / 2) + n * (Vec::lanes / 2);
    store_rows(sines, at, at + row / 2);
    const ptrdiff_t pair_at = m / 2 * row + n * Vec::lanes;
    interleave(sines).store(pairs + pair_at);
    interleave(round_both(a.cosine, b.cosine)).store(cosines + pair_at);
  }

  // Returns the rows of the last layer's sines; `rows` is room for two layers of them.
  static INLINE Pair* forward(const PackedNet& net, const TileCoordinates& tile, Pair* rows,
                              Pair* pairs, Pair* cosines) {
    const ptrdiff_t row = stride(net), words = layer_words(net);
    const int count = vectors(net);
    input_layer_pairs(net, row, count, tile, [=](int p, int n, Vec low, Vec high) {
      activate(low, high, rows, pairs, cosines, p, n, row);
    });
    Pair* in = rows;
    Pair* out = rows + words;
    for (int layer = 0; layer < net.shape.hidden_layers; ++layer) {
      const float* bias = net.bias + layer * row;
      pairs += words;
      cosines += words;
      const PairProduct x{in,  row / 2,
                          1,   net.forward_pairs + layer * weight_words(net),
                          row, pairs_of(net.shape.width)};
      layer_product(x, count, nullptr, [=](int m, int n, Vec low, Vec high) {
        const Vec b = Vec::load(bias + n * Vec::lanes);
        activate(low + b, high + b, out, pairs, cosines, m, n, row);
      });
      Pair* swap = in;
      in = out;
      out = swap;
    }
    return in;
  }

  static INLINE void output_layer(const PackedNet& net, const Pair* rows, float* y) {
    const PairProduct x{rows,      stride(net) / 2,          1, net.output_forward_pairs,
                        kOutWords, pairs_of(net.shape.width)};
    output_product(x, net.output_bias, y);
  }

  // delta of a hidden layer, in both forms, and its sum over pixels.
  static INLINE void back_product(const PairProduct& x, int count, const Pair* cosines,
                                  ptrdiff_t row, Pair* rows, Pair* pairs, float* bias) {
    layer_product(x, count, bias, [=](int m, int n, Vec& low, Vec& high) {
      const ptrdiff_t pair_at = m / 2 * row + n * Vec::lanes;
      const Pairs16 cosine = load_pairs(cosines + pair_at);
      low = low * low_halves(cosine);
      high = high * high_halves(cosine);
      const Rounded both = round_both(low, high);
      Pair* at = rows + m * (row / 2) + n * (Vec::lanes / 2);
      store_rows(both, at, at + row / 2);
      interleave(both).store(pairs + pair_at);
    });
  }

  // delta of the input layer, in float32.
  static INLINE void back_product_input(const PairProduct& x, int count, const Pair* cosines,
                                        ptrdiff_t row, float* delta) {
    layer_product(x, count, nullptr, [=](int m, int n, Vec low, Vec high) {
      const Pairs16 cosine = load_pairs(cosines + m / 2 * row + n * Vec::lanes);
      float* at = delta + m * row + n * Vec::lanes;
      (low * low_halves(cosine)).store(at);
      (high * high_halves(cosine)).store(at + row);
    });
  }

  static INLINE void backward(const PackedNet& net, const TileCoordinates& tile, const float* error,
                              const Pair* pairs, const Pair* cosines, Pair* deltas,
                              float* input_delta, GradientSums& sums) {
    const ptrdiff_t row = stride(net), words = layer_words(net);
    const int count = vectors(net), width = net.shape.width, last = net.shape.hidden_layers;
    // With room for what a product reads behind the end of the latter.
    Pair error_rows[kTile * kOut / 2], error_pairs[kTile * kOut / 2 + Vec::lanes];
    for (int i = 0; i < Vec::lanes; ++i) error_pairs[kTile * kOut / 2 + i] = {0};
    round_by_four(error, kTile, error_rows, error_pairs);
    const Pair* output_rows = error_rows;
    Pair wide_rows[kTile * (kDepth > kOut ? kDepth / 2 : 1)];
    if (kDepth > kOut) {
      __builtin_memset(wide_rows, 0, sizeof wide_rows);
      for (int p = 0; p < kTile; ++p)
        __builtin_memcpy(wide_rows + p * pairs_of(kOut), error_rows + p * kOut / 2, 2 * kOut);
      output_rows = wide_rows;
    }

    gradient_product(error_pairs, kOut, kOut, pairs + last * words, row, count, sums.output);
    Vec4 output_bias = Vec4::load(sums.output_bias);
    for (int p = 0; p < kTile; ++p) output_bias = output_bias + Vec4::load(error + p * kOut);
    output_bias.store(sums.output_bias);

    Pair *delta_rows = deltas, *delta_pairs = deltas + words;
    PairProduct x{output_rows, pairs_of(kOut), 1, net.output_backward_pairs, row, pairs_of(kOut)};
    for (int layer = last; layer > 0; --layer) {
      back_product(x, count, cosines + layer * words, row, delta_rows, delta_pairs,
                   sums.bias + (layer - 1) * row);
      gradient_product(delta_pairs, row, width, pairs + (layer - 1) * words, row, count,
                       sums.hidden + (layer - 1) * layer_floats(net));
      x = {delta_rows, row / 2,        1, net.backward_pairs + (layer - 1) * weight_words(net),
           row,        pairs_of(width)};
      delta_rows = delta_rows == deltas ? deltas + 2 * words : deltas;
      delta_pairs = delta_rows + words;
    }
    back_product_input(x, count, cosines, row, input_delta);
    scatter_delta(net, tile, input_delta, row, count, sums);
  }

  static void train(const PackedNet& net, const Target& target, const Batch& batch, int64_t first,
                    int64_t last, float* scratch, GradientSums& sums) {
    const FlushDenormals flush;
    const ProductsInUse in_use;
    const ptrdiff_t words = layer_words(net);
    const int layers = net.shape.hidden_layers + 1;
    float* input_delta = scratch;
    float* y = input_delta + 2 * words;
    Pair* rows = reinterpret_cast<Pair*>(y + kTile * kOut);
    Pair* deltas = rows + 2 * words;
    Pair* pairs = deltas + 4 * words;
    Pair* cosines = pairs + layers * words;
    // Where a product sums over more features than a row has, it multiplies what lies behind it by
    // zeros, and so that must be finite.
    if (2 * pairs_of(net.shape.width) > stride(net))
      __builtin_memset(rows, 0, size_t(pairs - rows) * sizeof(Pair));

    BatchCursor cursor(batch, first);
    for (int64_t i = first; i < last; i += kTile) {
      const int valid = int(last - i < kTile ? last - i : kTile);
      TileCoordinates tile;
      cursor.read(net, valid, tile);
      output_layer(net, forward(net, tile, rows, pairs, cosines), y);
      sums.squared_error += error_of_output(net, target, tile, valid, y);
      backward(net, tile, y, pairs, cosines, deltas, input_delta, sums);
    }
  }
};

void train(const PackedNet& net, const Target& target, const Batch& batch, int64_t first,
           int64_t last, float* scratch, GradientSums& sums) {
  with_vectors(net, [&](auto vectors) {
    Bfloat16Tiles<decltype(vectors)::count>::train(net, target, batch, first, last, scratch, sums);
  });
}

int64_t train_scratch(const PackedNet& net) {
  const int layers = net.shape.hidden_layers + 1;
  return int64_t(kTile) * kOut + int64_t(kTile / 2) * net.stride * (2 + 2 + 4 + 2 * layers);
}

const Bfloat16Kernels bfloat16_kernels{train, train_scratch, kTile, Vec::lanes, kDepth, kOutWords};

}  // namespace
