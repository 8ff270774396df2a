// What every training and decoding kernel shares: where a tile's pixels lie, the input layer from
// its tables, the loss, and sums of gradients. Include after the unit's vec_*.h, which defines Vec.
#pragma once

#include "simd/inline.h"
#include "simd/products.h"
#include "siren/cpu/kernel_table.h"

#ifdef TCNN_CODEC_X86
#include <xmmintrin.h>
#endif

namespace {

using tcnn_codec::Batch;
using tcnn_codec::GradientSums;
using tcnn_codec::kOut;
using tcnn_codec::kTile;
using tcnn_codec::PackedNet;
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

// The padded width in vectors when known at compile time, so that every row offset is an
// immediate; 0 leaves it to run time.
template <int COUNT>
struct Vectors {
  static constexpr int count = COUNT;
};

// Calls f with Vectors<...> of the network, or with Vectors<0> where its width was not compiled.
template <class F>
INLINE void with_vectors(const PackedNet& net, const F& f) {
  switch (net.stride / Vec::lanes) {
#if defined(TCNN_CODEC_X86) && !defined(TCNN_CODEC_AMX_EMULATED)
#define TCNN_CODEC_CASE(N) \
  case N:                  \
    return f(Vectors<N>());
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
      return f(Vectors<0>());
  }
}

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

// Reads a batch tile by tile, from entry `first` on.
class BatchCursor {
 public:
  INLINE BatchCursor(const Batch& batch, int64_t first) : batch_(batch) {
    if (batch.order)
      at_ = (uint64_t(batch.start) + uint64_t(batch.stride) * uint64_t(first)) %
            uint64_t(batch.order_size);
    else
      at_ = uint64_t(batch.start + first);
  }

  // The next `valid` entries; the last one fills the tile up.
  INLINE void read(const PackedNet& net, int valid, TileCoordinates& tile) {
    for (int p = 0; p < valid; ++p) {
      if (batch_.order) {
        tile.pixel[p] = batch_.order[at_];
        at_ += uint64_t(batch_.stride);
        if (at_ >= uint64_t(batch_.order_size)) at_ -= uint64_t(batch_.order_size);
      } else {
        tile.pixel[p] = uint32_t(at_++);
      }
    }
    for (int p = valid; p < kTile; ++p) tile.pixel[p] = tile.pixel[valid - 1];
    locate(net, tile);
  }

 private:
  const Batch& batch_;
  uint64_t at_;
};

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

// The same, two pixels at a time: `done(p, n, sum, next)`.
template <class Done>
INLINE void input_layer_pairs(const PackedNet& net, ptrdiff_t stride, int vectors,
                              const TileCoordinates& tile, const Done& done) {
  const auto sum = [&](int p, int n) {
    const float* x = net.table[0] + tile.axis[0][p] * stride + n * Vec::lanes;
    const float* y = net.table[1] + tile.axis[1][p] * stride + n * Vec::lanes;
    const float* t = net.table[2] + tile.axis[2][p] * stride + n * Vec::lanes;
    const Vec xy = Vec::load(x) + Vec::load(y);
    return net.shape.axes == 2 ? xy : xy + Vec::load(t);
  };
  for (int p = 0; p < kTile; p += 2)
    for (int n = 0; n < vectors; ++n) done(p, n, sum(p, n), sum(p + 1, n));
}

// Fills wanted for pixels below `valid`; its other entries stay as they are.
template <int CHANNELS>
INLINE void gather_target(const Target& target, const TileCoordinates& tile, int valid,
                          float* wanted) {
  const float* values = target.f32 ? target.f32 : target.output_gradient;
  for (int p = 0; p < valid; ++p) {
    const int64_t at = int64_t(tile.pixel[p]) * CHANNELS;
    for (int c = 0; c < CHANNELS; ++c)
      wanted[p * kOut + c] =
          target.u8 ? float(target.u8[at + c]) * (2.0f / 255.0f) - 1.0f : values[at + c];
  }
}

// y becomes the error, y - target, or the output's gradient where that is the target, for the first
// `valid` pixels, and 0 for the others and for channels that the target lacks; returns the sum of
// squared errors.
INLINE double error_of_output(const PackedNet& net, const Target& target,
                              const TileCoordinates& tile, int valid, float* y) {
  float wanted[kTile * kOut];
  for (int i = 0; i < kTile * kOut; ++i) wanted[i] = target.output_gradient ? 0 : y[i];
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
  if (target.output_gradient) {
    for (int i = 0; i < kTile * kOut; ++i) y[i] = wanted[i];
    return 0;
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

// Adds each pixel's delta of the input layer [kTile, stride] to its rows of the axis sums.
INLINE void scatter_delta(const PackedNet& net, const TileCoordinates& tile, const float* delta,
                          ptrdiff_t stride, int vectors, GradientSums& sums) {
  for (int a = 0; a < net.shape.axes; ++a)
    for (int p = 0; p < kTile; ++p) {
      float* into = sums.table[a] + tile.axis[a][p] * stride;
      for (int n = 0; n < vectors * Vec::lanes; n += Vec::lanes)
        (Vec::load(into + n) + Vec::load(delta + p * stride + n)).store(into + n);
    }
}

// destination [rows, vectors] += a * b; the product is summed in registers first, which keeps
// long sums accurate.
template <class T>
INLINE void add_product(const Operands<T>& x, int rows, int vectors, float* destination,
                        ptrdiff_t stride) {
  product<Vec, RowsAre::any>(x, rows, vectors, [=](auto& block) {
    block.each([=](int m, int n, Vec sum) {
      float* d = destination + m * stride + n * Vec::lanes;
      (Vec::load(d) + sum).store(d);
    });
  });
}

}  // namespace
