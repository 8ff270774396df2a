// The kernels: every phase of a step as a launch of its own, and all of them in one. Blocks
// [network * group, + group) work on one network.
#pragma once

#include "siren/cuda/evaluate.cuh"
#include "siren/cuda/muon.cuh"
#include "siren/cuda/pack.cuh"
#include "siren/cuda/reduce.cuh"

namespace tcnn_codec {
namespace cuda {

#define KERNEL __global__ void __launch_bounds__(kMostWarps* kWarp, 1)
// Bytes of shared memory in front of what a phase wants: one float per warp, and fit_kernel's step.
constexpr int kSharedFront = 16 * kMostWarps;

// What every kernel is told.
struct Launch {
  Shape shape;
  OptimiserConstants constants;
  const Network* networks;
  int group;  // blocks of one network
  Division division;
  int steps;         // of fit_kernel
  int* step;         // of the launches of single phases: which one it is; pack_kernel counts
  bool move;         // whether parameters change
  bool muon_shared;  // whether Muon's matrices fit into shared memory
};

DEVICE Group this_group(const Launch& launch) {
  return {int(blockIdx.x) % launch.group, launch.group};
}

DEVICE const Network& this_network(const Launch& launch) {
  assume_global(launch.networks);
  return launch.networks[int(blockIdx.x) / launch.group];
}

DEVICE float* sums_of_warps() { return reinterpret_cast<float*>(shared_memory()); }
DEVICE int& shared_step() { return reinterpret_cast<int*>(shared_memory())[kMostWarps]; }
DEVICE char* phase_memory() { return shared_memory() + kSharedFront; }

template <int kPadded, int kTiles, bool kShared>
DEVICE void train_phase(const Launch& launch, const Network& network, int step) {
  const Group group = this_group(launch);
  char* memory = phase_memory();
  if (!kShared) {
    const int64_t bytes = launch.division.tile * launch.shape.pixel_bytes();
    memory = network.pixels + group.index * bytes;
  }
  train<kPadded, kTiles, kShared>(launch.shape, network, network.steps[step], launch.division,
                                  group, memory, sums_of_warps());
}

DEVICE void reduce_phase(const Launch& launch, const Network& network, int step) {
  reduce(launch.shape, network, launch.constants, launch.division, this_group(launch), step,
         launch.move, reinterpret_cast<float4*>(phase_memory()));
}

DEVICE void optimise_phase(const Launch& launch, const Network& network, int step) {
  const Group group = this_group(launch);
  if (launch.muon_shared) {
    optimise<true>(launch.shape, network, launch.constants, group, step, phase_memory(),
                   sums_of_warps());
  } else {
    char* scratch = network.muon + group.index * muon_bytes(launch.shape);
    optimise<false>(launch.shape, network, launch.constants, group, step, scratch, sums_of_warps());
  }
}

KERNEL pack_kernel(const __grid_constant__ Launch launch) {
  if (launch.step && blockIdx.x == 0 && threadIdx.x == 0) ++*launch.step;
  pack(launch.shape, this_network(launch), this_group(launch),
       reinterpret_cast<float*>(phase_memory()));
}

template <int kPadded, int kTiles, bool kShared>
KERNEL train_kernel(const __grid_constant__ Launch launch) {
  train_phase<kPadded, kTiles, kShared>(launch, this_network(launch), *launch.step);
}

KERNEL reduce_kernel(const __grid_constant__ Launch launch) {
  reduce_phase(launch, this_network(launch), *launch.step);
}

KERNEL optimise_kernel(const __grid_constant__ Launch launch) {
  optimise_phase(launch, this_network(launch), *launch.step);
}

// All steps in one launch; every block must be on the device at once. The step is in shared memory,
// since training wants all registers.
template <int kPadded, int kTiles>
KERNEL fit_kernel(const __grid_constant__ Launch launch) {
  const auto blocks = unsigned(launch.group);
  if (threadIdx.x == 0) shared_step() = 0;
  for (bool more = launch.steps > 0; more;) {
    pack(launch.shape, this_network(launch), this_group(launch),
         reinterpret_cast<float*>(phase_memory()));
    group_barrier(this_network(launch).barrier, blocks);
    train_phase<kPadded, kTiles, true>(launch, this_network(launch), shared_step());
    group_barrier(this_network(launch).barrier, blocks);
    reduce_phase(launch, this_network(launch), shared_step());
    group_barrier(this_network(launch).barrier, blocks);
    optimise_phase(launch, this_network(launch), shared_step());
    more = shared_step() + 1 < launch.steps;
    group_barrier(this_network(launch).barrier, blocks);
    if (threadIdx.x == 0) ++shared_step();  // nobody reads it before the next barrier
  }
}

template <int kPadded, int kTiles>
KERNEL evaluate_kernel(const __grid_constant__ Launch launch) {
  evaluate<kPadded, kTiles>(launch.shape, this_network(launch), this_group(launch));
}

}  // namespace cuda
}  // namespace tcnn_codec
