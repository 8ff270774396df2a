// Any matrices come back exactly, from the shortest code and, of these, the least.
#include <cstdlib>

#include "matrices.h"

using namespace tcnn_codec;

namespace {

// As bytes or as pairs of bytes, so that both small magnitudes and large ones are frequent.
Matrices take_matrices(FuzzedDataProvider& bytes, const Shapes& shapes) {
  Matrices matrices;
  for (const Shape& shape : shapes) {
    const bool wide = bytes.ConsumeBool();
    std::vector<uint8_t> taken = bytes.ConsumeBytes<uint8_t>((wide ? 2 : 1) * shape.size());
    taken.resize((wide ? 2 : 1) * shape.size());
    std::vector<int32_t>& values = matrices.emplace_back();
    for (size_t i = 0; i < shape.size(); ++i) {
      int32_t value = wide ? (taken[2 * i] | taken[2 * i + 1] << 8) % (2 * kLargestMagnitude + 1) -
                                 kLargestMagnitude
                           : int8_t(taken[i]);
      values.push_back(shape.has_signs ? value : std::abs(value));
    }
  }
  return matrices;
}

// The big-endian number of as many bytes that is one more or one less; nothing where there is none.
std::optional<std::string> neighbour(std::string code, int step) {
  for (size_t at = code.size(); at-- > 0;) {
    code[at] = char(code[at] + step);
    if (code[at] != char(step > 0 ? 0 : 0xFF)) return code;
  }
  return std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Stopwatch stopwatch;
  FuzzedDataProvider bytes(data, size);
  const Shapes shapes = take_shapes(bytes);
  const Matrices matrices = take_matrices(bytes, shapes);
  Encoder encoder;
  const std::string code = encode(encoder, shapes, matrices);
  require(encode(encoder, shapes, matrices) == code, "a finished encoder begins anew");
  const auto has_matrices = [&](const std::string& text) {
    const std::optional<Decoded> found = decode(text, shapes);
    return found && found->matrices == matrices;
  };
  const std::optional<Decoded> found = decode(code, shapes);
  require(found.has_value(), "what the encoder writes decodes");
  require(found->matrices == matrices, "it decodes to the same integers");
  require(found->taken >= code.size(), "the decoder takes the whole code");
  // The codes of the matrices are those in an interval. So a shorter one, or a lesser one of this
  // length, would have to be next to this code.
  if (!code.empty()) {
    const std::string cut = code.substr(0, code.size() - 1);
    require(!has_matrices(cut), "the code is the shortest: the next lower one decodes to others");
    if (const auto next = neighbour(cut, 1))
      require(!has_matrices(*next), "the code is the shortest: the next higher one does too");
    if (const auto lesser = neighbour(code, -1))
      require(!has_matrices(*lesser), "the code is the least of its length");
  }
  return 0;
}
