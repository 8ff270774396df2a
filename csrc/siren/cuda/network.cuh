// What the kernels share: the network's shape, where each of its parts lies in device memory, and
// how blocks divide the work.
#pragma once

#include "siren/contract.h"
#include "siren/cuda/platform.cuh"

namespace tcnn_codec {
namespace cuda {

// Deltas are errors of the output times this until gradients are added up: float16 ends at 2^16,
// and below 2^-14 it loses digits.
constexpr float kLossScale = 64;
constexpr int kWarp = 32;      // lanes
constexpr int kMostWarps = 8;  // of a block
// Rows of one matrix product, and columns that two of its right-hand sides make.
constexpr int kRows = 16, kColumns = 16;
constexpr int kOut = 8;  // output channels, padded

DEVICE_HOST int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Strides of rows in shared memory, in float16: an odd number of 16 bytes, so that the eight rows
// of a matrix lie in different banks.
DEVICE_HOST constexpr int row_stride(int columns) { return columns + 8; }
// Hidden weights of one layer in float16, as matrix products take them, in words of 16 bytes.
DEVICE_HOST constexpr int operand_words(int padded) { return padded * padded / 8; }

// A SIREN, whose phases w0 (W x + b) are in radians here, and how the kernels pad it.
struct Shape : SirenShape {
  int padded;  // width as the kernels have it: 32, 48, 64, 96 or 128

  // Encoded features in float16, every axis padded to as many, in whole rows of a matrix load, and
  // by one at least.
  DEVICE_HOST int most_features() const {
    return features > features_of(axes - 1) ? features : features_of(axes - 1);
  }
  DEVICE_HOST int axis_features() const { return round_up(most_features() + 1, 8); }
  DEVICE_HOST int encoded() const { return round_up(axes * axis_features(), kColumns); }
  DEVICE_HOST int encoded_stride() const { return row_stride(encoded()); }
  // Bytes that training keeps of one pixel: sines and cosines of every layer, encoded coordinates,
  // the error of the output.
  DEVICE_HOST int pixel_bytes() const {
    return 2 * (2 * (hidden_layers + 1) * row_stride(padded) + encoded_stride() + kOut);
  }
};

// What one step does, read by the kernels.
struct Step {
  uint32_t start, stride;  // of Batch, siren/contract.h
  float learning_rate;
  float adam_rate, adam_correction;  // learning_rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
};

// A pointer into device memory; the kernels' compiler is told so.
template <class T>
struct Global {
  T* pointer;
  void operator=(T* other) { pointer = other; }
  DEVICE_HOST operator T*() const {
    assume_global(pointer);
    return pointer;
  }
};

// One network on the device: all pointers into device memory.
struct Network {
  // Of the caller.
  Global<float> params, mean, variance;
  Global<const float> scales;         // null: Muon
  Global<const float> encoding[3];    // [size, features_of(axis)]
  Global<const uint4> encoding16[3];  // float16 [size, axis_features()]
  int size[3];
  Global<const uint8_t> target8;  // exactly one target is set
  Global<const float> target32;
  Global<const uint32_t> order;  // null: pixels in their order
  uint32_t order_size;
  uint64_t order_reciprocal;  // (2^64 - 1) / order_size
  Global<const Step> steps;
  Global<float> losses;    // [steps], sums of squared errors
  Global<float> pixels32;  // evaluate's output; at most one is set
  Global<uint8_t> pixels8;
  // Workspace.
  Global<float> table[3];            // [size, padded], phases
  Global<uint4> forward;             // [hidden_layers, operand_words]
  Global<uint4> backward;            // likewise
  Global<float> bias;                // [hidden_layers, padded], phases
  Global<uint2> output_forward;      // [padded / 16, 32]
  Global<uint32_t> output_backward;  // [padded / 8, 32]
  Global<float> output_bias;         // [kOut]
  Global<float4> partial;            // [partials, Partial::vectors, 32], gradients of blocks
  Global<float> gradient;            // [parameters]; Muon's update of weights that it moves
  Global<char> muon;                 // [group, muon_bytes()], where that is not in shared memory
  Global<char> pixels;  // [group, tile] what training keeps, where that is not in shared memory
  Global<unsigned> barrier;
};

// A block's place among those that work on one network.
struct Group {
  int index, size;
};

struct Lane {
  int warp, lane, group, member;  // group and member: of fragments, lane = 4 group + member
};

DEVICE int block_threads() { return int(blockDim.x); }
DEVICE int block_warps() { return int(blockDim.x) / kWarp; }

DEVICE Lane this_lane() {
  const int lane = int(threadIdx.x) % kWarp;
  return {int(threadIdx.x) / kWarp, lane, lane / 4, lane % 4};
}

// Loads that are under way at once where a loop does not know how many it needs: left alone, the
// compiler makes each wait for the one before.
constexpr int kAtOnce = 8;

// use(i, fetch(i)) for a thread's share of i < size.
template <class Fetch, class Use>
DEVICE void for_each(int size, const Fetch& fetch, const Use& use) {
  for (int first = int(threadIdx.x); first < size; first += kAtOnce * block_threads()) {
    float values[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * block_threads();
      values[j] = i < size ? fetch(i) : 0;
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
      if (first + j * block_threads() < size) use(first + j * block_threads(), values[j]);
  }
}

// Sum of fetch(i) for i = first, first + step and so on below size; in this order.
template <class T, class Fetch, class Add>
DEVICE T sum_of(int first, int size, int step, const Fetch& fetch, const Add& add) {
  T sum = {};
  for (; first < size; first += kAtOnce * step) {
    T values[kAtOnce] = {};
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
      if (first + j * step < size) values[j] = fetch(first + j * step);
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) add(sum, values[j]);
  }
  return sum;
}

}  // namespace cuda
}  // namespace tcnn_codec
