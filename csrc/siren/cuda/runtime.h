// What the engine asks of a device: its limits, copies, launches, and graphs of launches. In
// tests the same names come from tests/cuda/emulated_runtime.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace tcnn_codec {
namespace cuda {

struct DeviceInfo {
  std::string name;
  int major, minor;  // compute capability
  int multiprocessors;
  size_t shared_bytes;  // most that one block can have
  bool cooperative;
};

// Something the device refused; what() says what and why.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace cuda
}  // namespace tcnn_codec

#ifdef TCNN_CODEC_EMULATED

#include "emulated_runtime.h"

#else

#include <cuda_runtime.h>

namespace tcnn_codec {
namespace cuda {

using Stream = cudaStream_t;

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw DeviceError(std::string(what) + ": " + cudaGetErrorString(status));
}

inline int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// Makes `device` this thread's until it is destroyed.
class UseDevice {
 public:
  explicit UseDevice(int device) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    check(cudaSetDevice(device), "cudaSetDevice");
  }
  ~UseDevice() { cudaSetDevice(before_); }
  UseDevice(const UseDevice&) = delete;
  UseDevice& operator=(const UseDevice&) = delete;

 private:
  int before_ = 0;
};

inline DeviceInfo device_info(int device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return {properties.name,
          properties.major,
          properties.minor,
          properties.multiProcessorCount,
          properties.sharedMemPerBlockOptin,
          properties.cooperativeLaunch != 0};
}

inline void copy_to_device(void* to, const void* from, size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
  // Small copies have left `from` when the call returns; the guide says so up to 64 KiB.
  if (bytes > size_t(64) << 10) check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

inline void fill(void* memory, int value, size_t bytes, Stream stream) {
  check(cudaMemsetAsync(memory, value, bytes, stream), "cudaMemsetAsync");
}

// To be called before a kernel is launched with as much; always the same, since it is the kernel's
// in the whole process.
template <class Argument>
void allow_shared(void (*kernel)(Argument), size_t shared_bytes) {
  check(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)),
      "cudaFuncSetAttribute");
}

// Blocks of a kernel that one multiprocessor holds at once.
template <class Argument>
int blocks_per_multiprocessor(void (*kernel)(Argument), int threads, size_t shared_bytes) {
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  return blocks;
}

template <class Argument>
void launch(void (*kernel)(Argument), int blocks, int threads, size_t shared_bytes,
            bool cooperative, Stream stream, Argument argument) {
  void* arguments[] = {&argument};
  const dim3 grid{unsigned(blocks)}, block{unsigned(threads)};
  const auto function = reinterpret_cast<const void*>(kernel);
  check(cooperative
            ? cudaLaunchCooperativeKernel(function, grid, block, arguments, shared_bytes, stream)
            : cudaLaunchKernel(function, grid, block, arguments, shared_bytes, stream),
        "launch");
}

// Captures what `record` launches on a stream of its own, then runs it `times` times on `stream`.
template <class Record>
void replay(Stream stream, int times, const Record& record) {
  struct Held {
    Stream capture = nullptr;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t instance = nullptr;
    ~Held() {  // what is still running is freed when it is done
      if (instance) cudaGraphExecDestroy(instance);
      if (graph) cudaGraphDestroy(graph);
      if (capture) cudaStreamDestroy(capture);
    }
  } held;
  check(cudaStreamCreateWithFlags(&held.capture, cudaStreamNonBlocking), "cudaStreamCreate");
  check(cudaStreamBeginCapture(held.capture, cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
  try {
    record(held.capture);
  } catch (...) {
    cudaStreamEndCapture(held.capture, &held.graph);
    throw;
  }
  check(cudaStreamEndCapture(held.capture, &held.graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&held.instance, held.graph, 0), "cudaGraphInstantiate");
  for (int i = 0; i < times; ++i) check(cudaGraphLaunch(held.instance, stream), "cudaGraphLaunch");
}

}  // namespace cuda
}  // namespace tcnn_codec

#endif
