// From parameters to what the kernels read: tables of the input layer, float16 operands in the
// order of the fragments, biases as phases.
#pragma once

#include "siren/cuda/network.cuh"

namespace tcnn_codec {
namespace cuda {

// Biases less whole turns: their rounding shifts every pixel alike.
DEVICE float bias_phase(const Shape& shape, float bias) {
  const float phase = shape.w0 * bias;
  return phase - 6.2831853f * rintf(0.15915494f * phase);
}

// Floats of shared memory that `pack_tables` needs.
DEVICE_HOST int pack_floats(const Shape& shape) {
  return shape.most_features() * (shape.padded + 1);
}

// table[axis][row] = w0 W[:, axis] encoding[row], plus the bias in that of the first axis.
// The encoding is separable, so that these replace the widest product and all encoding's sines.
DEVICE void pack_tables(const Shape& shape, const Network& network, const Group& group,
                        float* weights) {
  const int width = shape.width, padded = shape.padded;
  const int stride = padded + 1, inputs = shape.inputs(), first = group.index * block_threads();
  const float w0 = shape.w0, *params = network.params;
  for (int axis = 0; axis < shape.axes; ++axis) {
    const int items = network.size[axis] * padded;
    if (first >= items) continue;
    block_barrier();  // the axis before is done with `weights`
    const int features = shape.features_of(axis);
    const float* of_axis = params + shape.first_input(axis);
    for_each(
        features * padded,
        [&](int i) {
          const int row = i / features;
          return row < width ? w0 * of_axis[row * inputs + i % features] : 0;
        },
        [&](int i, float value) { weights[i % features * stride + i / features] = value; });
    block_barrier();
    for (int i = first + int(threadIdx.x); i < items; i += group.size * block_threads()) {
      const int row = i / padded, column = i % padded;
      const float* encoding = network.encoding[axis] + int64_t(row) * features;
      float sum = 0;
      for (int f = 0; f < features; ++f) sum += encoding[f] * weights[f * stride + column];
      if (axis == 0 && column < width) sum += bias_phase(shape, params[shape.bias(0) + column]);
      network.table[axis][i] = sum;
    }
  }
}

// The right operand of a product over k with columns n, as pairs over k in the order that a lane
// wants them: word `at` of uint32_t [padded / 16 pairs of blocks of n][padded / 16 of k][32][4].
struct OperandWord {
  int n, k;
  DEVICE OperandWord(int at, int k_blocks) {
    const int word = at % 4, lane = at / 4 % kWarp, block = at / (4 * kWarp);
    n = 16 * (block / k_blocks) + 8 * (word / 2) + lane / 4;
    k = 16 * (block % k_blocks) + 8 * (word % 2) + 2 * (lane % 4);
  }
};

// Hidden layers: w0 W, forward with k over its columns, backward over its rows.
DEVICE void pack_operands(const Shape& shape, const Network& network, int first, int step) {
  const int width = shape.width, padded = shape.padded;
  const int words = 4 * operand_words(padded);
  uint32_t* forward = reinterpret_cast<uint32_t*>(network.forward.pointer);
  uint32_t* backward = reinterpret_cast<uint32_t*>(network.backward.pointer);
  for (int i = first; i < shape.hidden_layers * words; i += step) {
    const int layer = i / words;
    const OperandWord word(i % words, padded / 16);
    const float* weight = network.params + shape.weight(layer + 1);
    float along[2], across[2];
    for (int j = 0; j < 2; ++j) {
      const bool inside = word.n < width && word.k + j < width;
      along[j] = inside ? shape.w0 * weight[word.n * width + word.k + j] : 0;
      across[j] = inside ? shape.w0 * weight[(word.k + j) * width + word.n] : 0;
    }
    forward[i] = pack_half2(along[0], along[1]);
    backward[i] = pack_half2(across[0], across[1]);
  }
  for (int i = first; i < shape.hidden_layers * padded; i += step) {
    const int layer = i / padded, row = i % padded;
    const float* bias = network.params + shape.bias(layer + 1);
    network.bias[i] = row < width ? bias_phase(shape, bias[row]) : 0;
  }
}

DEVICE void pack_output(const Shape& shape, const Network& network, int first, int step) {
  const int width = shape.width, channels = shape.out_channels, last = shape.hidden_layers + 1;
  const float* weight = network.params + shape.weight(last);
  const auto value = [=](int channel, int column) {
    return channel < channels && column < width ? weight[channel * width + column] : 0;
  };
  uint32_t* forward = reinterpret_cast<uint32_t*>(network.output_forward.pointer);
  for (int i = first; i < shape.padded / 16 * 2 * kWarp; i += step) {
    const int channel = i / 2 % kWarp / 4;
    const int column = 16 * (i / (2 * kWarp)) + 8 * (i % 2) + 2 * (i / 2 % 4);
    forward[i] = pack_half2(value(channel, column), value(channel, column + 1));
  }
  for (int i = first; i < shape.padded / 8 * kWarp; i += step) {
    const int channel = 2 * (i % 4), column = 8 * (i / kWarp) + i % kWarp / 4;
    network.output_backward[i] = pack_half2(value(channel, column), value(channel + 1, column));
  }
  for (int i = first; i < kOut; i += step)
    network.output_bias[i] = i < channels ? network.params[shape.bias(last) + i] : 0;
}

// shared: pack_floats.
DEVICE_CALL inline void pack(const Shape& shape, const Network& network, const Group& group,
                             float* shared) {
  const int step = group.size * block_threads();
  const int first = group.index * block_threads() + int(threadIdx.x);
  pack_operands(shape, network, first, step);
  pack_output(shape, network, first, step);
  pack_tables(shape, network, group, shared);
}

}  // namespace cuda
}  // namespace tcnn_codec
