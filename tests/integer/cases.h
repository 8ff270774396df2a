// Cases of evaluation in integers, from standard input: each is int32 axes, features, those of
// the last axis, hidden_layers, width, out_channels, the sizes of x, y and t, and threads; then
// values and multipliers, int32; then the axes' encodings, int16.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <vector>

#include "siren/integer/contract.h"

namespace tcnn_codec {

// Arrays are exactly as large as they must be, so that sanitizers see what is read beyond.
class ReadCase {
 public:
  // Whether there was another case.
  bool read() {
    int32_t head[10];
    if (std::fread(head, 1, sizeof head, stdin) != sizeof head) return false;
    network.shape = {head[0], head[1], head[3], head[4], head[5], 0, head[2]};
    threads = head[9];
    fill(values_, network.shape.parameter_count());
    fill(multipliers_, 2 * network.shape.layers());
    network.values = values_.data();
    network.multipliers = multipliers_.data();
    for (int axis = 0; axis < 3; ++axis) {
      grid.size[axis] = head[6 + axis];
      grid.values[axis] = nullptr;
      if (axis >= network.shape.axes) continue;
      fill(axes_[axis], grid.size[axis] * network.shape.features_of(axis));
      grid.values[axis] = axes_[axis].data();
    }
    return true;
  }
  size_t samples() const { return size_t(grid.pixels() * network.shape.out_channels); }

  IntegerNetwork network{};
  IntegerGrid grid{};
  int threads = 1;

 private:
  template <class T>
  void fill(std::vector<T>& array, int64_t size) {
    array = std::vector<T>(size_t(size));
    if (std::fread(array.data(), sizeof(T), array.size(), stdin) != array.size())
      throw std::runtime_error("a case ends too soon");
  }

  std::vector<int32_t> values_, multipliers_;
  std::vector<int16_t> axes_[3];
};

}  // namespace tcnn_codec
