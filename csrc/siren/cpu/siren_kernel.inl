// The algorithm, once, over the vector type `Vec` of the including unit. Everything is in an
// anonymous namespace and nothing from the standard library is inlined here: a function shared
// between units compiled for different instruction sets could be linked in the wrong one.
//
// A tile of kTile pixels goes forward, through the loss and backward while its activations stay
// in L1/L2. Activations are [pixel][feature], features padded to `stride`; so is every operand
// of every product, and one register block serves them all. See docs/kernels.md.

#include <cmath>

#include "simd/peak.inl"
#include "simd/products.h"
#include "simd/sincos.h"
#include "siren/cpu/optimiser.h"
#include "siren/cpu/tile.h"

namespace {

using Floats = Operands<float>;

INLINE void output_layer(const PackedNet& net, ptrdiff_t stride, const float* sines, float* y) {
  const Vec4 bias = Vec4::load(net.output_bias);
  product<Vec4, RowsAre::tile>(
      Floats{sines, stride, 1, net.output_forward, kOut, net.shape.width}, kTile, 1,
      [=](auto& block) {
        block.each([=](int m, int, Vec4 sum) { (sum + bias).store(y + m * kOut); });
      });
}

// VECTORS is the padded width in vectors, or 0 where it was not compiled.
template <int VECTORS>
struct Tiles {
  static INLINE ptrdiff_t stride(const PackedNet& net) {
    return VECTORS ? VECTORS * Vec::lanes : net.stride;
  }
  static INLINE int vectors(const PackedNet& net) {
    return VECTORS ? VECTORS : net.stride / Vec::lanes;
  }

  static void forward(const PackedNet& net, const TileCoordinates& tile, float* sines,
                      float* cosines) {
    const ptrdiff_t row = stride(net);
    const int count = vectors(net), width = net.shape.width;
    input_layer(net, row, count, tile, [=](int p, int n, Vec x) {
      const SinCos<Vec> sc = sincos_half_turns(x);
      sc.sine.store(sines + p * row + n * Vec::lanes);
      sc.cosine.store(cosines + p * row + n * Vec::lanes);
    });
    for (int layer = 0; layer < net.shape.hidden_layers; ++layer) {
      const float* in = sines + layer * kTile * row;
      float* sine = sines + (layer + 1) * kTile * row;
      float* cosine = cosines + (layer + 1) * kTile * row;
      const float* bias = net.bias + layer * row;
      const Floats x{in, row, 1, net.forward + layer * layer_floats(net), row, width};
      product<Vec, RowsAre::tile>(x, kTile, count, [=](auto& block) {
        block.each([=](int m, int n, Vec sum) {
          const SinCos<Vec> sc = sincos_half_turns(sum + Vec::load(bias + n * Vec::lanes));
          sc.sine.store(sine + m * row + n * Vec::lanes);
          sc.cosine.store(cosine + m * row + n * Vec::lanes);
        });
      });
    }
  }

  // delta of a layer is the loss' derivative by that layer's phase w0 (W x + b); its sum over
  // pixels, the bias' gradient, is added to `bias`. The input layer has none: null.
  static INLINE void back_product(const Floats& x, int count, const float* cosine, ptrdiff_t row,
                                  float* delta, float* bias) {
    product<Vec, RowsAre::tile>(x, kTile, count, [=](auto& block) {
      block.each([=](int m, int n, Vec& sum) {
        const ptrdiff_t at = m * row + n * Vec::lanes;
        sum = sum * Vec::load(cosine + at);
        sum.store(delta + at);
      });
      if (bias) block.add_rows(bias);
    });
  }

  static void backward(const PackedNet& net, const TileCoordinates& tile, const float* error,
                       const float* sines, const float* cosines, float* delta, float* next,
                       GradientSums& sums) {
    const ptrdiff_t row = stride(net), layer_size = kTile * row;
    const int count = vectors(net), width = net.shape.width, last = net.shape.hidden_layers;

    add_product(Floats{error, 1, kOut, sines + last * layer_size, row, kTile}, kOut, count,
                sums.output, row);
    Vec4 output_bias = Vec4::load(sums.output_bias);
    for (int p = 0; p < kTile; ++p) output_bias = output_bias + Vec4::load(error + p * kOut);
    output_bias.store(sums.output_bias);
    const auto bias_of = [&](int layer) { return layer < 0 ? nullptr : sums.bias + layer * row; };
    back_product({error, kOut, 1, net.output_backward, row, kOut}, count,
                 cosines + last * layer_size, row, delta, bias_of(last - 1));

    for (int layer = last - 1; layer >= 0; --layer) {
      add_product(Floats{delta, 1, row, sines + layer * layer_size, row, kTile}, width, count,
                  sums.hidden + layer * layer_floats(net), row);
      back_product({delta, row, 1, net.backward + layer * layer_floats(net), row, width}, count,
                   cosines + layer * layer_size, row, next, bias_of(layer - 1));
      float* swap = delta;
      delta = next;
      next = swap;
    }

    scatter_delta(net, tile, delta, row, count, sums);
  }

  static void train(const PackedNet& net, const Target& target, const Batch& batch, int64_t first,
                    int64_t last, float* scratch, GradientSums& sums) {
    const FlushDenormals flush;
    const ptrdiff_t layer_size = kTile * stride(net);
    const int layers = net.shape.hidden_layers + 1;
    float* sines = scratch;
    float* cosines = sines + layers * layer_size;
    float* delta = cosines + layers * layer_size;
    float* next = delta + layer_size;
    float* y = next + layer_size;

    BatchCursor cursor(batch, first);
    for (int64_t i = first; i < last; i += kTile) {
      const int valid = int(last - i < kTile ? last - i : kTile);
      TileCoordinates tile;
      cursor.read(net, valid, tile);
      forward(net, tile, sines, cosines);
      output_layer(net, stride(net), sines + (layers - 1) * layer_size, y);
      sums.squared_error += error_of_output(net, target, tile, valid, y);
      backward(net, tile, y, sines, cosines, delta, next, sums);
    }
  }

  static void evaluate(const PackedNet& net, int64_t first, int64_t last, float* scratch,
                       float* f32, uint8_t* u8) {
    const FlushDenormals flush;
    const ptrdiff_t row = stride(net);
    const int count = vectors(net), channels = net.shape.out_channels;
    for (int64_t i = first; i < last; i += kTile) {
      const int valid = int(last - i < kTile ? last - i : kTile);
      float* in = scratch;
      float* out = in + kTile * row;
      float* y = out + kTile * row;
      TileCoordinates tile;
      for (int p = 0; p < kTile; ++p) tile.pixel[p] = uint32_t(i + (p < valid ? p : valid - 1));
      locate(net, tile);
      input_layer(net, row, count, tile, [=](int p, int n, Vec x) {
        sin_half_turns(x).store(in + p * row + n * Vec::lanes);
      });
      for (int layer = 0; layer < net.shape.hidden_layers; ++layer) {
        const float* bias = net.bias + layer * row;
        const Floats x{in, row, 1, net.forward + layer * layer_floats(net), row, net.shape.width};
        product<Vec, RowsAre::tile>(x, kTile, count, [=](auto& block) {
          block.each([=](int m, int n, Vec sum) {
            sin_half_turns(sum + Vec::load(bias + n * Vec::lanes))
                .store(out + m * row + n * Vec::lanes);
          });
        });
        float* swap = in;
        in = out;
        out = swap;
      }
      output_layer(net, row, in, y);
      for (int p = 0; p < valid; ++p)
        for (int c = 0; c < channels; ++c) {
          const float value = y[p * kOut + c];
          const int64_t at = (i + p) * channels + c;
          if (f32) {
            f32[at] = value;
          } else {
            const float level = (value + 1.0f) * 127.5f;
            // Written so that a NaN becomes 0.
            u8[at] = level > 0 ? uint8_t(lrintf(level < 255.0f ? level : 255.0f)) : uint8_t(0);
          }
        }
    }
  }
};

// ---- the table's functions ---------------------------------------------------------------

void build_table(const float* encoding, int64_t first, int64_t last, int features,
                 const float* weight, const float* bias, int stride, float* table) {
  const FlushDenormals flush;
  float* rows = table + first * stride;
  product<Vec, RowsAre::any>(
      Floats{encoding + first * features, features, 1, weight, stride, features}, int(last - first),
      stride / Vec::lanes, [=](auto& block) {
        block.each([=](int m, int n, Vec sum) {
          if (bias) sum = sum + Vec::load(bias + n * Vec::lanes);
          sum.store(rows + m * stride + n * Vec::lanes);
        });
      });
}

void contract_table(const float* encoding, int64_t size, int features, const float* table,
                    int stride, float* out) {
  const FlushDenormals flush;
  for (int i = 0; i < features * stride; ++i) out[i] = 0;
  for (int64_t row = 0; row < size; row += kTile) {
    const int rows = int(size - row < kTile ? size - row : kTile);
    add_product(Floats{encoding + row * features, 1, features, table + row * stride, stride, rows},
                features, stride / Vec::lanes, out, stride);
  }
}

void train(const PackedNet& net, const Target& target, const Batch& batch, int64_t first,
           int64_t last, float* scratch, GradientSums& sums) {
  with_vectors(net, [&](auto vectors) {
    Tiles<decltype(vectors)::count>::train(net, target, batch, first, last, scratch, sums);
  });
}

int64_t train_scratch(const PackedNet& net) {
  return int64_t(kTile) * (net.stride * (2 * (net.shape.hidden_layers + 1) + 2) + kOut);
}

void evaluate(const PackedNet& net, int64_t first, int64_t last, float* scratch, float* f32,
              uint8_t* u8) {
  with_vectors(net, [&](auto vectors) {
    Tiles<decltype(vectors)::count>::evaluate(net, first, last, scratch, f32, u8);
  });
}

int64_t evaluate_scratch(const PackedNet& net) { return int64_t(kTile) * (2 * net.stride + kOut); }

void sum_slices(float* destination, const float* const* sources, int slices, int64_t first,
                int64_t last) {
  for (int64_t i = first; i < last; i += Vec::lanes) {
    Vec sum = Vec::load(sources[0] + i);
    for (int s = 1; s < slices; ++s) sum = sum + Vec::load(sources[s] + i);
    sum.store(destination + i);
  }
}

void adam(const Optimiser& state, const float* gradient, float learning_rate, const float* scales,
          int64_t first, int64_t last) {
  const FlushDenormals flush;
  adam_step(state, gradient, learning_rate, scales, first, last);
}

void muon(const Optimiser& state, const float* gradient, float learning_rate, int64_t first,
          int rows, int columns, float* scratch) {
  const FlushDenormals flush;
  muon_step(state, gradient, learning_rate, first, rows, columns, scratch);
}

int64_t muon_scratch(int rows, int columns) {
  const int narrow = rows < columns ? rows : columns, tall = rows < columns ? columns : rows;
  return int64_t(4) * tall * (narrow + Vec::lanes - 1);
}

}  // namespace

#define TCNN_CODEC_TEXT2(x) #x
#define TCNN_CODEC_TEXT(x) TCNN_CODEC_TEXT2(x)
#define TCNN_CODEC_JOIN2(a, b) a##b
#define TCNN_CODEC_JOIN(a, b) TCNN_CODEC_JOIN2(a, b)

namespace tcnn_codec {

const KernelTable& TCNN_CODEC_JOIN(TCNN_CODEC_ISA, _kernels)() {
  static const KernelTable table{TCNN_CODEC_TEXT(TCNN_CODEC_ISA),
                                 Vec::lanes,
                                 build_table,
                                 contract_table,
                                 train,
                                 train_scratch,
                                 evaluate,
                                 evaluate_scratch,
                                 sum_slices,
                                 adam,
                                 muon,
                                 muon_scratch};
  return table;
}

PeakLoop TCNN_CODEC_JOIN(TCNN_CODEC_ISA, _peak)() {
  return {TCNN_CODEC_TEXT(TCNN_CODEC_ISA), Vec::lanes, fma_rounds};
}

}  // namespace tcnn_codec
