// Where everything lies in the workspace.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tcnn_codec {
namespace cuda {

// Hands out pieces of the workspace; without one, adds up what it would take.
class Pieces {
 public:
  explicit Pieces(char* memory) : memory_(memory) {}

  template <class T>
  T* take(int64_t count) {
    T* piece = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += (size_t(count) * sizeof(T) + 255) / 256 * 256;
    return piece;
  }
  size_t used() const { return used_; }

 private:
  char* memory_;
  size_t used_ = 0;
};

}  // namespace cuda
}  // namespace tcnn_codec
