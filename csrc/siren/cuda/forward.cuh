// The network's value at the pixels of one warp, layer after layer in registers: the accumulators
// of a matrix product are the left operand of the next one.
#pragma once

#include "siren/cuda/network.cuh"

namespace tcnn_codec {
namespace cuda {

// Of one warp's pixels, kTiles times kRows, eight neighbouring features: lane 4g + t holds features
// 2t and 2t + 1 of pixels g and g + 8 of each tile, [2 * (pixel / 8) + feature % 2].
template <int kTiles>
using Block = float[kTiles][4];

// All features of them in float16, [pixel / 8] pairs of neighbouring ones of each block: as left
// operands of matrix products.
template <int kPadded, int kTiles>
struct Pairs {
  static constexpr int kBlocks = kPadded / 8;
  uint32_t values[kTiles][kBlocks][2];

  // That of a product over features 16k to 16k + 15.
  DEVICE void operand(int tile, int k, uint32_t (&a)[4]) const {
    a[0] = values[tile][2 * k][0];
    a[1] = values[tile][2 * k][1];
    a[2] = values[tile][2 * k + 1][0];
    a[3] = values[tile][2 * k + 1][1];
  }
};

constexpr uint32_t kNoPixel = 0xffffffff;

// Where the pixels of a warp lie on each axis: a lane knows those of one row of its tiles.
template <int kTiles>
struct Places {
  static constexpr int kPixels = kTiles * kRows;
  int at[3];

  DEVICE static int row() { return this_lane().lane % kPixels; }

  // pixel: of row(); kNoPixel stands at the origin.
  DEVICE Places(const Network& network, uint32_t pixel) {
    if (pixel == kNoPixel) pixel = 0;
    const uint32_t width = uint32_t(network.size[0]), height = uint32_t(network.size[1]);
    const uint32_t line = pixel / width;
    at[0] = int(pixel % width);
    at[1] = int(line % height);
    at[2] = int(line / height);
  }
};

// What the lane has that knows the calling lane's pixel: g or, for half 1, g + 8 of a tile.
DEVICE uint32_t from_row(uint32_t value, int tile, int half) {
  return shuffle(value, kRows * tile + 8 * half + this_lane().group);
}

// Phases of the input layer, from its tables: finish(block, phases) for every block.
template <int kPadded, int kTiles, int kAxes, class Finish>
DEVICE void input_phases(const Network& network, const Places<kTiles>& places,
                         const Finish& finish) {
  const uint32_t column = uint32_t(2 * this_lane().member);
  uint32_t rows[kAxes][kTiles][2];
#pragma unroll
  for (int axis = 0; axis < kAxes; ++axis)
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        rows[axis][tile][half] = from_row(uint32_t(places.at[axis]) * kPadded, tile, half) + column;
#pragma unroll
  for (int block = 0; block < kPadded / 8; ++block) {
    Block<kTiles> phases;
#pragma unroll
    for (int axis = 0; axis < kAxes; ++axis)
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float2 part = *reinterpret_cast<const float2*>(network.table[axis] + 8 * block +
                                                               rows[axis][tile][half]);
          float* phase = phases[tile] + 2 * half;
          phase[0] = axis ? phase[0] + part.x : part.x;
          phase[1] = axis ? phase[1] + part.y : part.y;
        }
    finish(block, phases);
  }
}

// The same for as many axes as there are.
template <int kPadded, int kTiles, class Finish>
DEVICE void input_phases(const Shape& shape, const Network& network, const Places<kTiles>& places,
                         const Finish& finish) {
  if (shape.axes == 2)
    input_phases<kPadded, kTiles, 2>(network, places, finish);
  else
    input_phases<kPadded, kTiles, 3>(network, places, finish);
}

// in W for a square W in the order of `pack_operands`: finish(block, values) for every block of
// columns, as soon as it is there, so that what follows runs beside the next block's products.
template <int kPadded, int kTiles, class Finish>
DEVICE void multiply(const Pairs<kPadded, kTiles>& in, const uint4* operand, const Finish& finish) {
  constexpr int kPairs = kPadded / 16;
  operand += this_lane().lane;
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair) {
    Block<kTiles> left = {}, right = {};
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
      const uint4 b = operand[(pair * kPairs + k) * kWarp];
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        uint32_t a[4];
        in.operand(tile, k, a);
        mma_16816(left[tile], a, b.x, b.y);
        mma_16816(right[tile], a, b.z, b.w);
      }
    }
    finish(2 * pair, left);
    finish(2 * pair + 1, right);
  }
}

// Where sines and cosines of a layer are kept, rows of features per pixel.
struct Keep {
  char *sines, *cosines;
};

// A pair of features of a pixel, in rows of `stride` float16.
DEVICE uint32_t& pair_at(char* memory, int stride, int pixel, int feature) {
  return *reinterpret_cast<uint32_t*>(memory + 2 * (pixel * stride + feature));
}

// Phases of a hidden layer's block of sums.
template <int kTiles>
DEVICE void add_bias(int block, const Block<kTiles>& sums, const float* bias,
                     Block<kTiles>& phases) {
  const float2 shift = *reinterpret_cast<const float2*>(bias + 8 * block + 2 * this_lane().member);
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) phases[tile][i] = sums[tile][i] + (i % 2 ? shift.y : shift.x);
}

// Sines of a block's phases; with kKeep, sines and cosines are kept, pixel `first` on.
template <bool kKeep, int kPadded, int kTiles>
DEVICE void activate(int block, const Block<kTiles>& phases, const Keep& keep, int first,
                     Pairs<kPadded, kTiles>& sines) {
  const Lane self = this_lane();
  const int feature = 8 * block + 2 * self.member;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* phase = phases[tile] + 2 * half;
      float sine[2], cosine[2];
      sine_cosine(phase[0], sine[0], cosine[0]);
      sine_cosine(phase[1], sine[1], cosine[1]);
      const uint32_t pair = pack_half2(sine[0], sine[1]);
      sines.values[tile][block][half] = pair;
      if (kKeep) {
        const int pixel = first + kRows * tile + 8 * half + self.group;
        pair_at(keep.sines, row_stride(kPadded), pixel, feature) = pair;
        pair_at(keep.cosines, row_stride(kPadded), pixel, feature) =
            pack_half2(cosine[0], cosine[1]);
      }
    }
}

// The output layer: lane 4g + t receives channels 2t and 2t + 1 of pixels g and g + 8 of each tile.
template <int kPadded, int kTiles>
DEVICE void output(const Network& network, const Pairs<kPadded, kTiles>& sines,
                   Block<kTiles>& values) {
  const Lane self = this_lane();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) values[tile][i] = 0;
#pragma unroll
  for (int k = 0; k < kPadded / 16; ++k) {
    const uint2 b = network.output_forward[k * kWarp + self.lane];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      uint32_t a[4];
      sines.operand(tile, k, a);
      mma_16816(values[tile], a, b.x, b.y);
    }
  }
  const float* bias = network.output_bias + 2 * self.member;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) values[tile][i] += bias[i % 2];
}

}  // namespace cuda
}  // namespace tcnn_codec
