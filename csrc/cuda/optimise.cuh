// From the blocks' partial gradients to the next parameters: a sum in fixed order, Adam where each
// value is summed, then Muon, one block per weight matrix. csrc/cpu/optimiser.h does the same.
#pragma once

#include "train.cuh"

namespace tcnn_codec {
namespace cuda {

// Partial gradients of one parameter are summed by so many lanes, then those sums in order.
constexpr int kSummands = 8;

// Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1) on parameter i.
DEVICE void adam_step(const Network& network, const Constants& constants, const Step& step, int i,
                      float gradient) {
  const float mean = network.mean[i] + (gradient - network.mean[i]) * (1 - constants.beta1);
  const float variance =
      network.variance[i] * constants.beta2 + gradient * gradient * (1 - constants.beta2);
  network.mean[i] = mean;
  network.variance[i] = variance;
  const float rate = network.scales ? step.adam_rate * network.scales[i] : step.adam_rate;
  network.params[i] -= rate * mean / (sqrtf(variance) * step.adam_correction + constants.epsilon);
}

// What of a layer parameter i is.
struct Slot {
  int layer;
  bool bias;
  DEVICE static Slot of(const Shape& shape, int i) {
    int layer = 0;
    while (layer + 1 < shape.layers() && i >= shape.weight(layer + 1)) ++layer;
    return {layer, i >= shape.bias(layer)};
  }
};

// gradient[i], of the mean squared error; the step's loss; with `move`, Adam on biases, and on
// everything where there are scales. shared: one float per thread.
DEVICE_CALL inline void reduce(const Shape& shape, const Network& network,
                               const Constants& constants, const Division& division,
                               const Group& group, int step, bool move, float* shared) {
  const int parameters = shape.parameters(), last_layer = shape.weight(shape.layers() - 1);
  const int64_t stride = partial_stride(shape);
  const int sums = int(blockDim.x) / kSummands;
  const int lane = int(threadIdx.x) % sums, part = int(threadIdx.x) / sums;
  const float mean = 2 / (kLossScale * float(division.count) * float(shape.out_channels));
  // One more than there are parameters: the squared error.
  for (int first = group.index * sums; first <= parameters; first += group.size * sums) {
    const int i = first + lane;
    float sum = 0;
    if (i <= parameters) {
      // The output layer and the loss are not parted.
      const int hop = i >= last_layer ? division.parts : 1;
      for (int from = part * hop; from < division.partials(); from += kSummands * hop)
        sum += network.partial[from * stride + i];
    }
    block_barrier();  // the sums before are read
    shared[threadIdx.x] = sum;
    block_barrier();
    if (part == 0 && i <= parameters) {
      for (int other = 1; other < kSummands; ++other) sum += shared[other * sums + lane];
      if (i == parameters) {
        network.losses[step] = sum;
      } else {
        const Slot slot = Slot::of(shape, i);
        const float gradient = sum * (slot.layer == shape.layers() - 1 ? mean : mean * shape.w0);
        network.gradient[i] = gradient;
        if (move && (network.scales || slot.bias))
          adam_step(network, constants, network.steps[step], i, gradient);
      }
    }
  }
}

// ---- Muon ------------------------------------------------------------------------------------

// Sides of the matrices that Muon works on: the longer one goes down the rows, both padded to what
// one thread computes at once.
constexpr int kPatch = 2;

struct MuonShape {
  int tall, narrow;
  DEVICE_HOST MuonShape(const Shape& shape, int layer) {
    const int rows = shape.rows(layer), columns = shape.columns(layer);
    tall = round_up(rows > columns ? rows : columns, kPatch);
    narrow = round_up(rows > columns ? columns : rows, kPatch);
  }
  // Floats of the matrix, twice, and of two square ones.
  DEVICE_HOST int64_t floats() const { return int64_t(2) * narrow * (tall + narrow); }
};

DEVICE_HOST int64_t muon_floats(const Shape& shape) {
  int64_t most = 0;
  for (int layer = 0; layer < shape.layers(); ++layer) {
    const int64_t floats = MuonShape(shape, layer).floats();
    if (floats > most) most = floats;
  }
  return most;
}

// out [rows, narrow] = factor term + a b, where b is [inner, narrow] and a [rows, inner], or
// [inner, rows] if it is transposed; term may be null.
template <bool kTransposed>
DEVICE void product(const float* a, const float* b, int rows, int inner, int narrow, float factor,
                    const float* term, float* out) {
  const int across = narrow / kPatch, patches = rows / kPatch * across;
  for (int patch = int(threadIdx.x); patch < patches; patch += int(blockDim.x)) {
    const int m = patch / across * kPatch, n = patch % across * kPatch;
    float sums[kPatch][kPatch] = {};
    for (int k = 0; k < inner; ++k) {
      float left[kPatch], right[kPatch];
#pragma unroll
      for (int i = 0; i < kPatch; ++i) {
        left[i] = kTransposed ? a[k * rows + m + i] : a[(m + i) * inner + k];
        right[i] = b[k * narrow + n + i];
      }
#pragma unroll
      for (int i = 0; i < kPatch; ++i)
#pragma unroll
        for (int j = 0; j < kPatch; ++j) sums[i][j] += left[i] * right[j];
    }
#pragma unroll
    for (int i = 0; i < kPatch; ++i)
#pragma unroll
      for (int j = 0; j < kPatch; ++j) {
        const int at = (m + i) * narrow + n + j;
        out[at] = term ? factor * term[at] + sums[i][j] : sums[i][j];
      }
  }
  block_barrier();
}

// x becomes about the nearest matrix with orthonormal columns, see csrc/cpu/optimiser.h; returns
// which of the two it is in. Coefficients: Jordan et al., Muon, 2024.
DEVICE float* orthogonalise(const MuonShape& sides, float* x, float* next, float* gram,
                            float* polynomial, float* sums_of_warps) {
  const float a = 3.4445f, b = -4.7750f, c = 2.0315f;
  const int tall = sides.tall, narrow = sides.narrow, size = tall * narrow;
  float squares = 0;
  for (int i = int(threadIdx.x); i < size; i += int(blockDim.x)) squares += x[i] * x[i];
  const float scale = 1 / fmaxf(sqrtf(block_sum(squares, sums_of_warps)), 1e-7f);
  for (int i = int(threadIdx.x); i < size; i += int(blockDim.x)) x[i] *= scale;
  block_barrier();
  for (int step = 0; step < 5; ++step) {
    product<true>(x, x, narrow, tall, narrow, 0, nullptr, gram);
    // b G + c G G = (b I + c G) G
    for (int i = int(threadIdx.x); i < narrow * narrow; i += int(blockDim.x)) next[i] = c * gram[i];
    block_barrier();
    product<false>(next, gram, narrow, narrow, narrow, b, gram, polynomial);
    product<false>(x, polynomial, tall, narrow, narrow, a, x, next);
    float* swap = x;
    x = next;
    next = swap;
  }
  return x;
}

// The rate term of csrc/cpu/optimiser.h on a weight matrix; sums holds one float per column.
DEVICE void shrink(float* weights, int rows, int columns, float rate, float floor, float* sums,
                   float* sums_of_warps) {
  float mine = 0;
  for (int c = int(threadIdx.x); c < columns; c += int(blockDim.x)) {
    float sum = 0;
    for (int r = 0; r < rows; ++r) sum += fabsf(weights[r * columns + c]);
    sums[c] = sum;
    mine += sum;
  }
  const float mean = block_sum(mine, sums_of_warps) / float(columns);
  for (int i = int(threadIdx.x); i < rows * columns; i += int(blockDim.x)) {
    // Of `rows` weights each: sums stand for means.
    const float less = mean > 0 ? rate * mean / (sums[i % columns] + floor * mean) : 0;
    weights[i] = copysignf(fmaxf(fabsf(weights[i]) - less, 0.0f), weights[i]);
  }
}

// Muon with Nesterov momentum on the weight of `layer`, then the rate term. scratch: muon_floats.
DEVICE void muon_step(const Shape& shape, const Network& network, const Constants& constants,
                      int layer, float learning_rate, float* scratch, float* sums_of_warps) {
  const int rows = shape.rows(layer), columns = shape.columns(layer);
  const MuonShape sides(shape, layer);
  const int narrow = sides.narrow, size = sides.tall * narrow;
  const bool wide = columns > rows;
  const int row_step = wide ? 1 : narrow, column_step = wide ? narrow : 1;
  float* params = network.params + shape.weight(layer);
  float* momentum = network.mean + shape.weight(layer);
  const float* gradient = network.gradient + shape.weight(layer);
  float *x = scratch, *next = x + size, *gram = next + size, *polynomial = gram + narrow * narrow;
  for (int i = int(threadIdx.x); i < size; i += int(blockDim.x)) x[i] = 0;
  block_barrier();
  for (int i = int(threadIdx.x); i < rows * columns; i += int(blockDim.x)) {
    const float moved = momentum[i] + (gradient[i] - momentum[i]) * (1 - constants.momentum);
    momentum[i] = moved;
    x[i / columns * row_step + i % columns * column_step] =
        gradient[i] + (moved - gradient[i]) * constants.momentum;
  }
  block_barrier();
  const float* update = orthogonalise(sides, x, next, gram, polynomial, sums_of_warps);
  const float rate = learning_rate * (wide ? 1.0f : sqrtf(float(rows) / float(columns)));
  for (int i = int(threadIdx.x); i < rows * columns; i += int(blockDim.x))
    params[i] -= rate * update[i / columns * row_step + i % columns * column_step];
  block_barrier();
  shrink(params, rows, columns, learning_rate * constants.rate_weight, constants.rate_floor,
         scratch, sums_of_warps);
}

// Every weight matrix to one block. scratch: muon_floats of this block.
DEVICE_CALL inline void optimise(const Shape& shape, const Network& network,
                                 const Constants& constants, const Group& group, int step,
                                 float* scratch, float* sums_of_warps) {
  if (network.scales) return;
  for (int layer = group.index; layer < shape.layers(); layer += group.size) {
    muon_step(shape, network, constants, layer, network.steps[step].learning_rate, scratch,
              sums_of_warps);
    block_barrier();
  }
}

}  // namespace cuda
}  // namespace tcnn_codec
