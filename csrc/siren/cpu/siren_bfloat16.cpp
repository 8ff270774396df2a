// Training on AVX-512 with products in bfloat16 (vdpbf16ps: two products a lane and instruction,
// summed in float32). Phase, loss and every sum stay float32. Layouts are those of
// siren_kernel.inl, but activations and deltas are pairs of bfloat16, in one or both of two forms:
// "rows" [pixel][feature / 2] pairs neighbouring features, for products that sum over features;
// "pairs" [pixel / 2][feature] pairs neighbouring pixels, for sums over pixels.

#include "simd/vec_avx512.h"
//
#include "simd/peak.h"
#include "simd/products.h"
#include "simd/sincos.h"
#include "siren/cpu/kernel_table.h"
#include "siren/cpu/tile.h"

namespace {

using tcnn_codec::Bfloat16Kernels;
using PairProduct = Operands<Pair>;

// Masked forms with every lane set stand for plain ones: GCC 12 warns of an uninitialised value
// inside those (GCC bug 105593), and makes the same instruction of both.

// Two pixels' values at the same sixteen features, as bfloat16: `low` and then `high`.
INLINE __m512i round_both(Vec low, Vec high) { return (__m512i)_mm512_cvtne2ps_pbh(high.v, low.v); }

INLINE void store_rows(__m512i both, Pair* low, Pair* high) {
  __builtin_memcpy(low, &both, sizeof(__m256i));
  _mm256_storeu_si256((__m256i*)high, _mm512_maskz_extracti64x4_epi64(0xff, both, 1));
}

INLINE Pairs16 interleave(__m512i both) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return {_mm512_maskz_permutexvar_epi16(~0u, order, both)};
}

INLINE Vec low_halves(Pairs16 x) { return {_mm512_castsi512_ps((__m512i)((__v16su)x.v << 16))}; }
INLINE Vec high_halves(Pairs16 x) {
  return {_mm512_castsi512_ps((__m512i)((__v16su)x.v & (__v16su)_mm512_set1_epi32(-0x10000)))};
}

// The output layer's error [kTile, kOut] in both forms.
INLINE void round_error(const float* error, Pair* rows, Pair* pairs) {
  const __m256i order = _mm256_set_epi16(15, 11, 14, 10, 13, 9, 12, 8, 7, 3, 6, 2, 5, 1, 4, 0);
  for (int i = 0; i < kTile * kOut / 2; i += 8) {
    const __m256i four_pixels = (__m256i)_mm512_cvtneps_pbh(Vec::load(error + 2 * i).v);
    _mm256_storeu_si256((__m256i*)(rows + i), four_pixels);
    _mm256_storeu_si256((__m256i*)(pairs + i), _mm256_permutexvar_epi16(order, four_pixels));
  }
}

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
    return (net.shape.width + 1) / 2 * stride(net);
  }

  // Sine and cosine of two pixels' phases at vector n of their layer.
  static INLINE void activate(Vec low, Vec high, Pair* rows, Pair* pairs, Pair* cosines, int m,
                              int n, ptrdiff_t row) {
    const SinCos<Vec> a = coarse_sincos_half_turns(low), b = coarse_sincos_half_turns(high);
    const __m512i sines = round_both(a.sine, b.sine);
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
                          row, (net.shape.width + 1) / 2};
      product<Vec, RowsAre::tile>(x, kTile, count, [=](auto& block) {
        block.each_two_rows([=](int m, int n, Vec low, Vec high) {
          const Vec b = Vec::load(bias + n * Vec::lanes);
          activate(low + b, high + b, out, pairs, cosines, m, n, row);
        });
      });
      Pair* swap = in;
      in = out;
      out = swap;
    }
    return in;
  }

  static INLINE void output_layer(const PackedNet& net, const Pair* rows, float* y) {
    const Vec4 bias = Vec4::load(net.output_bias);
    const PairProduct x{rows, stride(net) / 2,          1, net.output_forward_pairs,
                        kOut, (net.shape.width + 1) / 2};
    product<Vec4, RowsAre::tile>(x, kTile, 1, [=](auto& block) {
      block.each([=](int m, int, Vec4 sum) { (sum + bias).store(y + m * kOut); });
    });
  }

  // delta of a hidden layer, in both forms, and its sum over pixels.
  static INLINE void back_product(const PairProduct& x, int count, const Pair* cosines,
                                  ptrdiff_t row, Pair* rows, Pair* pairs, float* bias) {
    product<Vec, RowsAre::tile>(x, kTile, count, [=](auto& block) {
      block.each_two_rows([=](int m, int n, Vec& low, Vec& high) {
        const ptrdiff_t pair_at = m / 2 * row + n * Vec::lanes;
        const Pairs16 cosine = Vec::load(cosines + pair_at);
        low = low * low_halves(cosine);
        high = high * high_halves(cosine);
        const __m512i both = round_both(low, high);
        Pair* at = rows + m * (row / 2) + n * (Vec::lanes / 2);
        store_rows(both, at, at + row / 2);
        interleave(both).store(pairs + pair_at);
      });
      block.add_rows(bias);
    });
  }

  // delta of the input layer, in float32.
  static INLINE void back_product_input(const PairProduct& x, int count, const Pair* cosines,
                                        ptrdiff_t row, float* delta) {
    product<Vec, RowsAre::tile>(x, kTile, count, [=](auto& block) {
      block.each_two_rows([=](int m, int n, Vec low, Vec high) {
        const Pairs16 cosine = Vec::load(cosines + m / 2 * row + n * Vec::lanes);
        float* at = delta + m * row + n * Vec::lanes;
        (low * low_halves(cosine)).store(at);
        (high * high_halves(cosine)).store(at + row);
      });
    });
  }

  static INLINE void backward(const PackedNet& net, const TileCoordinates& tile, const float* error,
                              const Pair* pairs, const Pair* cosines, Pair* deltas,
                              float* input_delta, GradientSums& sums) {
    const ptrdiff_t row = stride(net), words = layer_words(net);
    const int count = vectors(net), width = net.shape.width, last = net.shape.hidden_layers;
    Pair error_rows[kTile * kOut / 2], error_pairs[kTile * kOut / 2];
    round_error(error, error_rows, error_pairs);

    add_product(PairProduct{error_pairs, 1, kOut, pairs + last * words, row, kTile / 2}, kOut,
                count, sums.output, row);
    Vec4 output_bias = Vec4::load(sums.output_bias);
    for (int p = 0; p < kTile; ++p) output_bias = output_bias + Vec4::load(error + p * kOut);
    output_bias.store(sums.output_bias);

    Pair *delta_rows = deltas, *delta_pairs = deltas + words;
    PairProduct x{error_rows, kOut / 2, 1, net.output_backward_pairs, row, kOut / 2};
    for (int layer = last; layer > 0; --layer) {
      back_product(x, count, cosines + layer * words, row, delta_rows, delta_pairs,
                   sums.bias + (layer - 1) * row);
      add_product(PairProduct{delta_pairs, 1, row, pairs + (layer - 1) * words, row, kTile / 2},
                  width, count, sums.hidden + (layer - 1) * layer_floats(net), row);
      x = {delta_rows, row / 2,        1, net.backward_pairs + (layer - 1) * weight_words(net),
           row,        (width + 1) / 2};
      delta_rows = delta_rows == deltas ? deltas + 2 * words : deltas;
      delta_pairs = delta_rows + words;
    }
    back_product_input(x, count, cosines, row, input_delta);
    scatter_delta(net, tile, input_delta, row, count, sums);
  }

  static void train(const PackedNet& net, const Target& target, const Batch& batch, int64_t first,
                    int64_t last, float* scratch, GradientSums& sums) {
    const FlushDenormals flush;
    const ptrdiff_t words = layer_words(net);
    const int layers = net.shape.hidden_layers + 1;
    float* input_delta = scratch;
    float* y = input_delta + 2 * words;
    Pair* rows = reinterpret_cast<Pair*>(y + kTile * kOut);
    Pair* deltas = rows + 2 * words;
    Pair* pairs = deltas + 4 * words;
    Pair* cosines = pairs + layers * words;

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

float fma_rounds(int64_t rounds) {
  Vec sum[24];
  for (int i = 0; i < 24; ++i) sum[i] = Vec::set(float(i));
  // Not constants to the compiler, which would not multiply by them then.
  Pairs16 a = Vec::set(Pair{0x3c003c00}), b = a;
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(a.v), "+v"(b.v));
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sum[i] = multiply_add(a, b, sum[i]);
  }
  float lanes[Vec::lanes], total = 0;
  for (int i = 0; i < 24; ++i) {
    sum[i].store(lanes);
    total += lanes[0];
  }
  return total;
}

}  // namespace

namespace tcnn_codec {

const Bfloat16Kernels& avx512_bfloat16_kernels() {
  static const Bfloat16Kernels table{train, train_scratch};
  return table;
}

PeakLoop avx512_bfloat16_peak() { return {"avx512", Vec::lanes, fma_rounds}; }

}  // namespace tcnn_codec
