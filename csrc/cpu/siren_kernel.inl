// The algorithm, once, over the vector type `Vec` of the including unit. Everything is in an
// anonymous namespace and nothing from the standard library is inlined here: a function shared
// between units compiled for different instruction sets could be linked in the wrong one.
//
// A tile of kTile pixels goes forward, through the loss and backward while its activations stay
// in L1/L2. Activations are [pixel][feature], features padded to `stride`; so is every operand
// of every product, and one register block serves them all. See docs/kernels.md.

#include <cmath>

#include "kernel_table.h"
#include "products.h"
#include "sincos.h"

#ifdef TCNN_CODEC_X86
#include <xmmintrin.h>
#endif

namespace {

using tcnn_codec::Adam;
using tcnn_codec::Batch;
using tcnn_codec::GradientSums;
using tcnn_codec::kOut;
using tcnn_codec::kTile;
using tcnn_codec::PackedNet;
using tcnn_codec::Phase;
using tcnn_codec::Target;

// Denormals cost a hundred cycles each and mean nothing here.
class FlushDenormals {
#ifdef TCNN_CODEC_X86
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#else
 public:
  FlushDenormals() {}
#endif
};

INLINE int64_t layer_floats(const PackedNet& net) { return int64_t(net.shape.width) * net.stride; }

// ---- one tile ----------------------------------------------------------------------------

// Where batch entries or pixels lie on the grid.
struct TileCoordinates {
  uint32_t pixel[kTile];
  uint32_t axis[3][kTile];
};

// 1 / d, a little too large: then uint32_t(n * reciprocal) is n / d for all n, d < 2^32. The
// excess, at least the products' rounding, lifts exact quotients to no less than themselves; at
// most 6e-6 / d, it lifts none over the next integer, which is 1 / d away.
INLINE double reciprocal(uint32_t d) { return (1 + 1e-15) / d; }

INLINE void locate(const PackedNet& net, TileCoordinates& tile) {
  const uint32_t width = uint32_t(net.axis_size[0]), height = uint32_t(net.axis_size[1]);
  const double by_width = reciprocal(width), by_height = reciprocal(height);
  for (int p = 0; p < kTile; ++p) {
    const uint32_t row = uint32_t(tile.pixel[p] * by_width);
    const uint32_t frame = uint32_t(row * by_height);
    tile.axis[0][p] = tile.pixel[p] - row * width;
    tile.axis[1][p] = row - frame * height;
    tile.axis[2][p] = frame;
  }
}

// The input layer: W enc + b is a sum of one table row per axis. `done(p, n, sum)`.
template <class Done>
INLINE void input_layer(const PackedNet& net, ptrdiff_t stride, int vectors,
                        const TileCoordinates& tile, const Done& done) {
  for (int p = 0; p < kTile; ++p) {
    const float* x = net.table[0] + tile.axis[0][p] * stride;
    const float* y = net.table[1] + tile.axis[1][p] * stride;
    const float* t = net.table[2] + tile.axis[2][p] * stride;
    if (net.shape.axes == 2) {
      for (int n = 0; n < vectors; ++n)
        done(p, n, Vec::load(x + n * Vec::lanes) + Vec::load(y + n * Vec::lanes));
    } else {
      for (int n = 0; n < vectors; ++n)
        done(p, n,
             Vec::load(x + n * Vec::lanes) + Vec::load(y + n * Vec::lanes) +
                 Vec::load(t + n * Vec::lanes));
    }
  }
}

INLINE void output_layer(const PackedNet& net, ptrdiff_t stride, const float* sines, float* y) {
  const Vec4 bias = Vec4::load(net.output_bias);
  product<Vec4, RowsAre::tile>({sines, stride, 1, net.output_forward, kOut, net.shape.width}, kTile,
                               1, [=](int m, int, Vec4 sum) { (sum + bias).store(y + m * kOut); });
}

// Fills wanted for pixels below `valid`; its other entries stay as they are.
template <int CHANNELS>
INLINE void gather_target(const Target& target, const TileCoordinates& tile, int valid,
                          float* wanted) {
  for (int p = 0; p < valid; ++p) {
    const int64_t at = int64_t(tile.pixel[p]) * CHANNELS;
    for (int c = 0; c < CHANNELS; ++c)
      wanted[p * kOut + c] =
          target.u8 ? float(target.u8[at + c]) * (2.0f / 255.0f) - 1.0f : target.f32[at + c];
  }
}

// y becomes y - target for the first `valid` pixels and 0 for the others and for channels that
// the target lacks; returns the sum of squares.
INLINE double subtract_target(const PackedNet& net, const Target& target,
                              const TileCoordinates& tile, int valid, float* y) {
  float wanted[kTile * kOut];
  for (int i = 0; i < kTile * kOut; ++i) wanted[i] = y[i];
  switch (net.shape.out_channels) {
    case 1:
      gather_target<1>(target, tile, valid, wanted);
      break;
    case 3:
      gather_target<3>(target, tile, valid, wanted);
      break;
    default:
      gather_target<4>(target, tile, valid, wanted);
  }
  Vec squares = Vec::zero();
  for (int i = 0; i < kTile * kOut; i += Vec::lanes) {
    const Vec error = Vec::load(y + i) - Vec::load(wanted + i);
    error.store(y + i);
    squares = multiply_add(error, error, squares);
  }
  float lanes[Vec::lanes];
  squares.store(lanes);
  double sum = 0;
  for (int i = 0; i < Vec::lanes; ++i) sum += double(lanes[i]);
  return sum;
}

// VECTORS is the padded width in vectors when known at compile time, so that every row offset is
// an immediate; 0 leaves it to run time.
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
    const Phase phase = net.phase;
    input_layer(net, row, count, tile, [=](int p, int n, Vec x) {
      const SinCos<Vec> sc = sincos_phase(x, phase);
      sc.sine.store(sines + p * row + n * Vec::lanes);
      sc.cosine.store(cosines + p * row + n * Vec::lanes);
    });
    for (int layer = 0; layer < net.shape.hidden_layers; ++layer) {
      const float* in = sines + layer * kTile * row;
      float* sine = sines + (layer + 1) * kTile * row;
      float* cosine = cosines + (layer + 1) * kTile * row;
      const float* bias = net.bias + layer * row;
      product<Vec, RowsAre::tile>({in, row, 1, net.forward + layer * layer_floats(net), row, width},
                                  kTile, count, [=](int m, int n, Vec sum) {
                                    const Vec x = sum + Vec::load(bias + n * Vec::lanes);
                                    const SinCos<Vec> sc = sincos_phase(x, phase);
                                    sc.sine.store(sine + m * row + n * Vec::lanes);
                                    sc.cosine.store(cosine + m * row + n * Vec::lanes);
                                  });
    }
  }

  // delta of a layer is the loss' derivative by that layer's phase w0 (W x + b).
  static INLINE void back_product(const Operands& x, int count, const float* cosine, ptrdiff_t row,
                                  float* delta) {
    product<Vec, RowsAre::tile>(x, kTile, count, [=](int m, int n, Vec sum) {
      const ptrdiff_t at = m * row + n * Vec::lanes;
      (sum * Vec::load(cosine + at)).store(delta + at);
    });
  }

  static void backward(const PackedNet& net, const TileCoordinates& tile, const float* error,
                       const float* sines, const float* cosines, float* delta, float* next,
                       GradientSums& sums) {
    const ptrdiff_t row = stride(net), layer_size = kTile * row;
    const int count = vectors(net), width = net.shape.width, last = net.shape.hidden_layers;

    add_product({error, 1, kOut, sines + last * layer_size, row, kTile}, kOut, count, sums.output,
                row);
    Vec4 output_bias = Vec4::load(sums.output_bias);
    for (int p = 0; p < kTile; ++p) output_bias = output_bias + Vec4::load(error + p * kOut);
    output_bias.store(sums.output_bias);
    back_product({error, kOut, 1, net.output_backward, row, kOut}, count,
                 cosines + last * layer_size, row, delta);

    for (int layer = last - 1; layer >= 0; --layer) {
      add_product({delta, 1, row, sines + layer * layer_size, row, kTile}, width, count,
                  sums.hidden + layer * layer_floats(net), row);
      float* bias = sums.bias + layer * row;
      for (int n = 0; n < count; ++n) {
        Vec sum = Vec::zero();
        for (int p = 0; p < kTile; ++p) sum = sum + Vec::load(delta + p * row + n * Vec::lanes);
        (Vec::load(bias + n * Vec::lanes) + sum).store(bias + n * Vec::lanes);
      }
      back_product({delta, row, 1, net.backward + layer * layer_floats(net), row, width}, count,
                   cosines + layer * layer_size, row, next);
      float* swap = delta;
      delta = next;
      next = swap;
    }

    for (int a = 0; a < net.shape.axes; ++a)
      for (int p = 0; p < kTile; ++p) {
        float* into = sums.table[a] + tile.axis[a][p] * row;
        for (int n = 0; n < count * Vec::lanes; n += Vec::lanes)
          (Vec::load(into + n) + Vec::load(delta + p * row + n)).store(into + n);
      }
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

    uint64_t at = 0;
    if (batch.order)
      at = (uint64_t(batch.start) + uint64_t(batch.stride) * uint64_t(first)) %
           uint64_t(batch.order_size);
    for (int64_t i = first; i < last; i += kTile) {
      const int valid = int(last - i < kTile ? last - i : kTile);
      TileCoordinates tile;
      for (int p = 0; p < valid; ++p) {
        if (batch.order) {
          tile.pixel[p] = batch.order[at];
          at += uint64_t(batch.stride);
          if (at >= uint64_t(batch.order_size)) at -= uint64_t(batch.order_size);
        } else {
          tile.pixel[p] = uint32_t(batch.start + i + p);
        }
      }
      for (int p = valid; p < kTile; ++p) tile.pixel[p] = tile.pixel[valid - 1];
      locate(net, tile);
      forward(net, tile, sines, cosines);
      output_layer(net, stride(net), sines + (layers - 1) * layer_size, y);
      sums.squared_error += subtract_target(net, target, tile, valid, y);
      backward(net, tile, y, sines, cosines, delta, next, sums);
    }
  }

  static void evaluate(const PackedNet& net, int64_t first, int64_t last, float* scratch,
                       float* f32, uint8_t* u8) {
    const FlushDenormals flush;
    const ptrdiff_t row = stride(net);
    const int count = vectors(net), channels = net.shape.out_channels;
    const Phase phase = net.phase;
    for (int64_t i = first; i < last; i += kTile) {
      const int valid = int(last - i < kTile ? last - i : kTile);
      float* in = scratch;
      float* out = in + kTile * row;
      float* y = out + kTile * row;
      TileCoordinates tile;
      for (int p = 0; p < kTile; ++p) tile.pixel[p] = uint32_t(i + (p < valid ? p : valid - 1));
      locate(net, tile);
      input_layer(net, row, count, tile, [=](int p, int n, Vec x) {
        sin_phase(x, phase).store(in + p * row + n * Vec::lanes);
      });
      for (int layer = 0; layer < net.shape.hidden_layers; ++layer) {
        const float* bias = net.bias + layer * row;
        product<Vec, RowsAre::tile>(
            {in, row, 1, net.forward + layer * layer_floats(net), row, net.shape.width}, kTile,
            count, [=](int m, int n, Vec sum) {
              sin_phase(sum + Vec::load(bias + n * Vec::lanes), phase)
                  .store(out + m * row + n * Vec::lanes);
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

// Calls f with the compile-time padded width where one was compiled.
template <class F>
INLINE void with_vectors(const PackedNet& net, const F& f) {
  switch (net.stride / Vec::lanes) {
#if defined(TCNN_CODEC_X86)
#define TCNN_CODEC_CASE(N) \
  case N:                  \
    return f(Tiles<N>());
    TCNN_CODEC_CASE(1)
    TCNN_CODEC_CASE(2)
    TCNN_CODEC_CASE(3)
    TCNN_CODEC_CASE(4)
    TCNN_CODEC_CASE(6)
    TCNN_CODEC_CASE(8)
#ifndef TCNN_CODEC_AVX512
    TCNN_CODEC_CASE(5)
    TCNN_CODEC_CASE(7)
    TCNN_CODEC_CASE(12)
    TCNN_CODEC_CASE(16)
#endif
#undef TCNN_CODEC_CASE
#endif
    default:
      return f(Tiles<0>());
  }
}

// ---- the table's functions ---------------------------------------------------------------

void build_table(const float* encoding, int64_t first, int64_t last, int features,
                 const float* weight, const float* bias, int stride, float* table) {
  const FlushDenormals flush;
  float* rows = table + first * stride;
  product<Vec, RowsAre::any>({encoding + first * features, features, 1, weight, stride, features},
                             int(last - first), stride / Vec::lanes, [=](int m, int n, Vec sum) {
                               if (bias) sum = sum + Vec::load(bias + n * Vec::lanes);
                               sum.store(rows + m * stride + n * Vec::lanes);
                             });
}

void contract_table(const float* encoding, int64_t size, int features, const float* table,
                    int stride, float* out) {
  const FlushDenormals flush;
  for (int i = 0; i < features * stride; ++i) out[i] = 0;
  for (int64_t row = 0; row < size; row += kTile) {
    const int rows = int(size - row < kTile ? size - row : kTile);
    add_product({encoding + row * features, 1, features, table + row * stride, stride, rows},
                features, stride / Vec::lanes, out, stride);
  }
}

void train(const PackedNet& net, const Target& target, const Batch& batch, int64_t first,
           int64_t last, float* scratch, GradientSums& sums) {
  with_vectors(net, [&](auto tiles) {
    decltype(tiles)::train(net, target, batch, first, last, scratch, sums);
  });
}

int64_t train_scratch(const PackedNet& net) {
  return int64_t(kTile) * (net.stride * (2 * (net.shape.hidden_layers + 1) + 2) + kOut);
}

void evaluate(const PackedNet& net, int64_t first, int64_t last, float* scratch, float* f32,
              uint8_t* u8) {
  with_vectors(net,
               [&](auto tiles) { decltype(tiles)::evaluate(net, first, last, scratch, f32, u8); });
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

void adam(const Adam& state, const float* gradient, float learning_rate, int64_t count) {
  const FlushDenormals flush;
  const double t = double(state.step + 1);
  const float rate = float(learning_rate / (1 - pow(double(state.beta1), t)));
  const float correction = float(1 / sqrt(1 - pow(double(state.beta2), t)));
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i];
    const float mean = state.mean[i] + (g - state.mean[i]) * (1 - state.beta1);
    const float variance = state.variance[i] * state.beta2 + g * g * (1 - state.beta2);
    state.mean[i] = mean;
    state.variance[i] = variance;
    state.params[i] -= rate * mean / (sqrtf(variance) * correction + state.epsilon);
  }
}

float fma_rounds(int64_t rounds) {
  constexpr int n = 24 <= Vec::accumulators ? 24 : 12;
  Vec sum[n];
  for (int i = 0; i < n; ++i) sum[i] = Vec::set(float(i));
  const Vec factor = Vec::set(0.999f), term = Vec::set(1e-3f);
  for (int64_t round = 0; round < rounds * (24 / n); ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < n; ++i) sum[i] = multiply_add(sum[i], factor, term);
  }
  float lanes[Vec::lanes], total = 0;
  for (int i = 0; i < n; ++i) {
    sum[i].store(lanes);
    total += lanes[0];
  }
  return total;
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
                                 fma_rounds};
  return table;
}

}  // namespace tcnn_codec
