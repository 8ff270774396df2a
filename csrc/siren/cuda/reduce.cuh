// From the blocks' partial gradients to the gradient: a sum in fixed order, and what the optimiser
// does with each value by itself, as siren/cpu/optimiser.h has it.
#pragma once

#include "siren/cuda/train.cuh"

namespace tcnn_codec {
namespace cuda {

// Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1) on parameter i.
DEVICE void adam_step(const Network& network, const OptimiserConstants& constants, const Step& step,
                      int i, float gradient) {
  const float mean = network.mean[i] + (gradient - network.mean[i]) * (1 - constants.beta1);
  const float variance =
      network.variance[i] * constants.beta2 + gradient * gradient * (1 - constants.beta2);
  network.mean[i] = mean;
  network.variance[i] = variance;
  const float rate = network.scales ? step.adam_rate * network.scales[i] : step.adam_rate;
  network.params[i] -= rate * mean / (sqrtf(variance) * step.adam_correction + constants.epsilon);
}

// The gradient of the mean squared error by one parameter. With `move`, Adam on biases, and on
// everything where there are scales; of a weight that Muon is to move, its momentum, and in the
// gradient's place its update (Nesterov's).
DEVICE void finish_gradient(const Shape& shape, const Network& network,
                            const OptimiserConstants& constants, const Step& step, bool move,
                            const Slot& slot, float gradient) {
  const int i = slot.parameter;
  if (slot.layer < shape.layers() - 1) gradient *= shape.w0;
  if (move && (network.scales || slot.bias)) {
    adam_step(network, constants, step, i, gradient);
  } else if (move) {
    const float before = network.mean[i];
    const float moved = before + (gradient - before) * (1 - constants.momentum);
    network.mean[i] = moved;
    gradient += (moved - gradient) * constants.momentum;
  }
  network.gradient[i] = gradient;
}

// Sums the blocks' partial gradients, finishes them, and the step's loss. Each warp adds up some
// blocks', then one of them those sums. shared: a float4 per thread.
DEVICE_CALL inline void reduce(const Shape& shape, const Network& network,
                               const OptimiserConstants& constants, const Division& division,
                               const Group& group, int step, bool move, float4* shared) {
  const Lane self = this_lane();
  const int vectors = Partial::vectors(shape);
  const float mean = 2 / (kLossScale * float(division.count) * float(shape.out_channels));
  for (int vector = group.index; vector < vectors; vector += group.size) {
    if (!Partial::used(shape, vector)) continue;
    // Errors are not parted.
    const int hop = vector == Partial::error(shape) ? 1 << division.part_bits : 1;
    const float4* values = network.partial + vector * kWarp + self.lane;
    float4 sum = sum_of<float4>(
        self.warp * hop, division.partials(), block_warps() * hop,
        [&](int from) { return values[int64_t(from) * vectors * kWarp]; }, add);
    block_barrier();  // the sums before are read
    shared[threadIdx.x] = sum;
    block_barrier();
    if (self.warp > 0) continue;
    for (int other = 1; other < block_warps(); ++other) add(sum, shared[other * kWarp + self.lane]);
    if (vector == Partial::error(shape)) {
      if (self.lane == 0) network.losses[step] = sum.x;
      continue;
    }
    const float all[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Slot slot = Partial::slot(shape, vector, self.lane, i);
      if (slot.parameter >= 0)
        finish_gradient(shape, network, constants, network.steps[step], move, slot, mean * all[i]);
    }
  }
}

}  // namespace cuda
}  // namespace tcnn_codec
