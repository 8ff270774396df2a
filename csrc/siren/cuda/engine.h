// The native contract of the cuda backend: what bindings/cuda.cpp calls. Arrays lie in device
// memory, the workspace is the caller's; nothing here waits for the device.
#pragma once

#include <cstdint>
#include <vector>

#include "siren/contract.h"
#include "siren/cuda/runtime.h"

namespace tcnn_codec {
namespace cuda {

// One network and its chunk. Null where an operation has no use for it.
struct Job {
  float* params;                  // [parameters]
  float* mean;                    // likewise; siren/contract.h, Optimiser
  float* variance;                // likewise
  const float* scales;            // likewise, or null
  const float* encoding[3];       // [size, features_of(axis)] of each axis
  const uint16_t* encoding16[3];  // float16: the same, 1, and zeros up to a multiple of 8, the
                                  // same for every axis
  int64_t size[3];                // 1 for an axis the model does not have
  const uint8_t* target8;         // Target, siren/contract.h
  const float* target32;
  const uint32_t* order;  // Batch, siren/contract.h
  int64_t order_size;
  const void* steps;  // [steps] of five words: start, stride, learning rate, Adam's rate of that
                      // step learning_rate / (1 - beta1^t), its correction 1 / sqrt(1 - beta2^t)
  float* losses;      // [steps], sums of squared errors
  float* gradient;    // [parameters]
  float* pixels32;    // [pixels, out_channels]; one of the two
  uint8_t* pixels8;
};

// What may be chosen, and is where it is 0.
struct Choices {
  int group = 0;       // blocks that work on one network
  int block = 0;       // warps of a block: 1 to 8
  int warps = 0;       // those that take pixels: 1 to `block`
  int tiles = 0;       // rows of 16 pixels that a warp takes at once: 1 or 2
  bool graph = false;  // single phases instead of one cooperative launch
};

// How jobs of one shape run on a device. Every network of a call has the same plan, which alone
// decides the order of sums.
struct Plan {
  int64_t count;  // pixels of a batch, 0 for evaluate
  int block, warps, tiles, group;
  bool kept_shared, muon_shared, cooperative;
  size_t shared_bytes, shared_limit;  // of a block: used, and most that the device gives
  int networks_at_once;
  size_t workspace_bytes;  // for all
};

// info: of `device`. count: pixels of a batch, 0 for evaluate. Throws DeviceError.
Plan make_plan(int device, const DeviceInfo& info, const SirenShape& shape,
               const std::vector<Job>& jobs, int64_t count, const Choices& choices);

// Each throws DeviceError. workspace: plan.workspace_bytes.
void fit_steps(int device, const SirenShape& shape, const std::vector<Job>& jobs, int steps,
               const OptimiserConstants& constants, const Plan& plan, char* workspace,
               Stream stream);
// gradient and one loss of each job; `steps` names its batch, with rates of no meaning.
void loss_and_grad(int device, const SirenShape& shape, const std::vector<Job>& jobs,
                   const Plan& plan, char* workspace, Stream stream);
void evaluate(int device, const SirenShape& shape, const std::vector<Job>& jobs, const Plan& plan,
              char* workspace, Stream stream);

}  // namespace cuda
}  // namespace tcnn_codec
