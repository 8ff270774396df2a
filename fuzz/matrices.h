// What the targets of the arithmetic coder share: matrices, and how a fuzzer's bytes describe them.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "coders/binary_coder.h"
#include "target.h"

namespace tcnn_codec {

struct Shape {
  int64_t rows, columns;
  bool has_signs;
  size_t size() const { return size_t(rows * columns); }
};

using Shapes = std::vector<Shape>;
using Matrices = std::vector<std::vector<int32_t>>;

// From the end of the bytes, where FuzzedDataProvider takes numbers from; seeds.py writes the same.
// Enough values for contexts to wear out, and few enough for thousands of runs a second.
inline Shapes take_shapes(FuzzedDataProvider& bytes) {
  int64_t left = 300;
  Shapes shapes(bytes.ConsumeIntegralInRange<size_t>(1, 16));
  for (Shape& shape : shapes) {
    shape.columns = bytes.ConsumeIntegralInRange<int64_t>(1, 128);
    shape.rows = bytes.ConsumeIntegralInRange<int64_t>(1, 128);
    shape.rows = std::clamp<int64_t>(left / shape.columns, 1, shape.rows);
    shape.has_signs = bytes.ConsumeBool();
    left -= shape.rows * shape.columns;
  }
  return shapes;
}

struct Decoded {
  Matrices matrices;
  size_t taken;
};

// Nothing where a magnitude is too large. The code is copied to memory of its own size, so that
// AddressSanitizer sees whoever reads beyond it.
inline std::optional<Decoded> decode(const std::string& text, const Shapes& shapes) {
  const std::vector<uint8_t> code(text.begin(), text.end());
  Decoder decoder(code.data(), code.size());
  Decoded found;
  try {
    for (const Shape& shape : shapes) {
      std::vector<int32_t>& values = found.matrices.emplace_back(shape.size());
      decoder.take(values.data(), shape.rows, shape.columns, shape.has_signs);
    }
  } catch (const std::invalid_argument&) {
    return std::nullopt;
  }
  found.taken = decoder.taken();
  return found;
}

inline std::string encode(Encoder& encoder, const Shapes& shapes, const Matrices& matrices) {
  for (size_t i = 0; i < shapes.size(); ++i)
    encoder.add(matrices[i].data(), shapes[i].rows, shapes[i].columns, shapes[i].has_signs);
  return encoder.finish();
}

}  // namespace tcnn_codec
