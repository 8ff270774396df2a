// Evaluation in integers: tables of the input layer, then a thread takes two pixels through all
// layers. Activations lie in shared memory, pairs of neighbouring neurons in a word
// [neuron / 2][pixel]; no thread reads those of another, so there are no barriers.
#pragma once

#include "siren/cuda/network.cuh"

namespace tcnn_codec {
namespace cuda {

constexpr int kIntegerThreads = 64;  // of a block, at most
constexpr int kIntegerBlocks = 8;    // of a multiprocessor: with more, registers would spill
constexpr int kIntegerPixels = 2;    // of a thread
// Neurons that are summed at once; widths are padded to a multiple.
constexpr int kIntegerRows = 8;
constexpr int kIntegerOut = 4;

struct IntegerLaunch {
  SirenShape shape;
  int rows;  // padded width
  int size[3];
  Global<const int16_t> encoding[3];   // [size, features_of(axis)]
  Global<const int> input[3];          // [features, rows], of each axis
  Global<const int> hidden;            // [hidden_layers, 2 * pairs, rows]
  Global<const int> output;            // [2 * pairs, kIntegerOut]
  Global<const uint32_t> bias;         // [hidden_layers + 1, rows], phases
  Global<const uint32_t> multipliers;  // [hidden_layers + 1]
  Global<uint32_t> table[3];           // [rows, size]
  Global<uint8_t> out;
  int64_t output_multiplier, output_start[kIntegerOut];

  DEVICE_HOST int pairs() const { return (shape.width + 1) / 2; }
  // Bytes of shared memory for a pixel: two layers of activations.
  DEVICE_HOST int pixel_bytes() const { return 2 * (rows / 2) * int(sizeof(uint32_t)); }
};

DEVICE int integer_mul(int a, int b) { return (a * b + (1 << 14)) >> 15; }

DEVICE int integer_sine(uint32_t phase) {
  const int c = int(phase - (uint32_t(1) << 30)) >> 16;
  const int r = 32767 - 2 * (c < 0 ? -1 - c : c);
  const int s = integer_mul(r, r);
  int p = integer_mul(-70, s) + 1300;
  p = integer_mul(p, s) - 10582;
  p = integer_mul(p, s) + 25736;
  return integer_mul(r, p);
}

DEVICE uint32_t pack_int16(int low, int high) {
  return (uint32_t(low) & 0xffff) | uint32_t(high) << 16;
}

// sum[p][r] += weights[k][r] * value[p] for the two values k of every pixel's word.
template <int kCount>
DEVICE void add_products(const int* weights, int stride, const uint32_t (&words)[kIntegerPixels],
                         uint32_t (&sum)[kIntegerPixels][kCount]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int weight[kCount];
#pragma unroll
    for (int r = 0; r < kCount; r += 4) {
      const uint4 four = *reinterpret_cast<const uint4*>(weights + half * stride + r);
      weight[r] = int(four.x);
      weight[r + 1] = int(four.y);
      weight[r + 2] = int(four.z);
      weight[r + 3] = int(four.w);
    }
#pragma unroll
    for (int p = 0; p < kIntegerPixels; ++p) {
      const int value = half ? int(words[p]) >> 16 : int(int16_t(words[p] & 0xffff));
#pragma unroll
      for (int r = 0; r < kCount; ++r) sum[p][r] += uint32_t(weight[r] * value);
    }
  }
}

// This thread's activations of one layer.
struct IntegerColumn {
  uint32_t* first;
  int stride;  // pixels of a block

  DEVICE uint32_t& at(int pair, int p) const {
    return first[pair * stride + p * (stride / kIntegerPixels)];
  }
};

// Products of `kCount` rows with all of a layer's inputs.
template <int kCount>
DEVICE void sum_rows(const int* weights, int stride, const IntegerColumn& in, int pairs,
                     uint32_t (&sum)[kIntegerPixels][kCount]) {
#pragma unroll
  for (int p = 0; p < kIntegerPixels; ++p)
#pragma unroll
    for (int r = 0; r < kCount; ++r) sum[p][r] = 0;
  for (int k = 0; k < pairs; ++k, weights += 2 * stride) {
    uint32_t words[kIntegerPixels];
#pragma unroll
    for (int p = 0; p < kIntegerPixels; ++p) words[p] = in.at(k, p);
    add_products(weights, stride, words, sum);
  }
}

DEVICE void integer_input(const IntegerLaunch& launch, const uint32_t (&pixel)[kIntegerPixels],
                          const IntegerColumn& out) {
  const uint32_t width = uint32_t(launch.size[0]), height = uint32_t(launch.size[1]);
#pragma unroll
  for (int p = 0; p < kIntegerPixels; ++p) {
    const uint32_t row = pixel[p] / width;
    const uint32_t* x = launch.table[0] + pixel[p] % width;
    const uint32_t* y = launch.table[1] + row % height;
    const uint32_t* t = launch.shape.axes == 3 ? launch.table[2] + row / height : nullptr;
    const auto sine = [&](int m) {
      uint32_t phase = x[int64_t(m) * launch.size[0]] + y[int64_t(m) * launch.size[1]];
      if (t) phase += t[int64_t(m) * launch.size[2]];
      return integer_sine(phase);
    };
    for (int k = 0; k < launch.rows / 2; ++k)
      out.at(k, p) = pack_int16(sine(2 * k), sine(2 * k + 1));
  }
}

DEVICE void integer_hidden(const IntegerLaunch& launch, int layer, const IntegerColumn& in,
                           const IntegerColumn& out) {
  const int rows = launch.rows, pairs = launch.pairs();
  const int* weights = launch.hidden + int64_t(layer) * 2 * pairs * rows;
  const uint32_t* bias = launch.bias + (layer + 1) * rows;
  const uint32_t multiplier = launch.multipliers[layer + 1];
  for (int m = 0; m < rows; m += kIntegerRows) {
    uint32_t sum[kIntegerPixels][kIntegerRows];
    sum_rows(weights + m, rows, in, pairs, sum);
#pragma unroll
    for (int p = 0; p < kIntegerPixels; ++p)
#pragma unroll
      for (int r = 0; r < kIntegerRows; r += 2)
        out.at((m + r) / 2, p) =
            pack_int16(integer_sine(multiplier * sum[p][r] + bias[m + r]),
                       integer_sine(multiplier * sum[p][r + 1] + bias[m + r + 1]));
  }
}

DEVICE void integer_output(const IntegerLaunch& launch, const uint32_t (&pixel)[kIntegerPixels],
                           uint32_t pixels, const IntegerColumn& in) {
  uint32_t sum[kIntegerPixels][kIntegerOut];
  sum_rows(launch.output, kIntegerOut, in, launch.pairs(), sum);
#pragma unroll
  for (int p = 0; p < kIntegerPixels; ++p)
#pragma unroll
    for (int c = 0; c < kIntegerOut; ++c) {
      if (pixel[p] >= pixels || c >= launch.shape.out_channels) continue;
      const int64_t level =
          (launch.output_multiplier * int(sum[p][c]) + launch.output_start[c]) >> 26;
      launch.out[int64_t(pixel[p]) * launch.shape.out_channels + c] =
          uint8_t(level < 0     ? 0
                  : level > 255 ? 255
                                : level);
    }
}

// ---- kernels -----------------------------------------------------------------------------------

// A thread takes kIntegerRows neurons of one sample of an axis.
__global__ void __launch_bounds__(kIntegerThreads, kIntegerBlocks)
    integer_table_kernel(const IntegerLaunch launch) {
  const int rows = launch.rows, groups = rows / kIntegerRows;
  const int64_t first = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int axis = 0; axis < launch.shape.axes; ++axis) {
    const int features = launch.shape.features_of(axis);
    for (int64_t i = first; i < int64_t(launch.size[axis]) * groups; i += step) {
      const int64_t sample = i % launch.size[axis];
      const int m = int(i / launch.size[axis]) * kIntegerRows;
      const int* weights = launch.input[axis] + m;
      const int16_t* encoding = launch.encoding[axis] + sample * features;
      uint32_t sum[kIntegerRows] = {};
      for (int f = 0; f < features; ++f)
#pragma unroll
        for (int r = 0; r < kIntegerRows; ++r)
          sum[r] += uint32_t(weights[f * rows + r] * encoding[f]);
#pragma unroll
      for (int r = 0; r < kIntegerRows; ++r)
        launch.table[axis][int64_t(m + r) * launch.size[axis] + sample] =
            launch.multipliers[0] * sum[r] + (axis == 0 ? launch.bias[m + r] : 0);
    }
  }
}

__global__ void __launch_bounds__(kIntegerThreads, kIntegerBlocks)
    integer_render_kernel(const IntegerLaunch launch) {
  const int stride = int(blockDim.x) * kIntegerPixels;
  uint32_t* memory = reinterpret_cast<uint32_t*>(shared_memory()) + threadIdx.x;
  const auto layer_at = [&](int layer) {
    return IntegerColumn{memory + layer % 2 * (launch.rows / 2 * stride), stride};
  };
  const uint32_t pixels =
      uint32_t(launch.size[0]) * uint32_t(launch.size[1]) * uint32_t(launch.size[2]);
  const uint32_t tiles = (pixels - 1) / uint32_t(stride) + 1;
  for (uint32_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    // Those beyond the last are worked out at the last, and not stored.
    uint32_t pixel[kIntegerPixels], at[kIntegerPixels];
#pragma unroll
    for (int p = 0; p < kIntegerPixels; ++p) {
      pixel[p] = tile * uint32_t(stride) + threadIdx.x + uint32_t(p) * blockDim.x;
      at[p] = pixel[p] < pixels ? pixel[p] : pixels - 1;
    }
    integer_input(launch, at, layer_at(0));
    const int hidden = launch.shape.hidden_layers;
    for (int layer = 0; layer < hidden; ++layer)
      integer_hidden(launch, layer, layer_at(layer), layer_at(layer + 1));
    integer_output(launch, pixel, pixels, layer_at(hidden));
  }
}

}  // namespace cuda
}  // namespace tcnn_codec
