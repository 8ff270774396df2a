// csrc/siren/cuda/runtime.h on the CPU: device memory is memory, launches run at once in the
// emulator.
#pragma once

#include <cstring>
#include <functional>
#include <vector>

#include "emulator.h"

namespace tcnn_codec {
namespace cuda {

using Stream = std::vector<std::function<void()>>*;  // what a graph records; null: run at once

// The device that is played; a small one reaches more than one tile and wave with few pixels.
inline DeviceInfo& emulated_device() {
  static DeviceInfo info{"emulator", 9, 0, 4, 227 << 10, true};
  return info;
}

inline int device_count() { return 1; }
inline DeviceInfo device_info(int) { return emulated_device(); }

struct UseDevice {
  explicit UseDevice(int) {}
};

inline void copy_to_device(void* to, const void* from, size_t bytes, Stream) {
  std::memcpy(to, from, bytes);
}

inline void fill(void* memory, int value, size_t bytes, Stream) {
  std::memset(memory, value, bytes);
}

template <class Argument>
void allow_shared(void (*)(Argument), size_t shared_bytes) {
  if (shared_bytes > emulated_device().shared_bytes) throw DeviceError("too much shared memory");
}

template <class Argument>
int blocks_per_multiprocessor(void (*)(Argument), int, size_t) {
  return 1;
}

template <class Argument>
void launch(void (*kernel)(Argument), int blocks, int threads, size_t shared_bytes,
            bool cooperative, Stream stream, Argument argument) {
  const auto run = [=] {
    emulator::launch(kernel, unsigned(blocks), unsigned(threads), shared_bytes, cooperative,
                     argument);
  };
  if (stream)
    stream->push_back(run);
  else
    run();
}

template <class Record>
void replay(Stream, int times, const Record& record) {
  std::vector<std::function<void()>> launches;
  record(&launches);
  for (int i = 0; i < times; ++i)
    for (const auto& run : launches) run();
}

}  // namespace cuda
}  // namespace tcnn_codec
