// Any bytes either decode or are refused, and what decodes has a code no longer than they are.
#include <algorithm>
#include <cstdlib>

#include "matrices.h"

using namespace tcnn_codec;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Stopwatch stopwatch;
  FuzzedDataProvider bytes(data, size);
  const Shapes shapes = take_shapes(bytes);
  const std::string code = bytes.ConsumeRemainingBytesAsString();
  const std::optional<Decoded> found = decode(code, shapes);
  if (!found) return 0;
  for (size_t i = 0; i < shapes.size(); ++i)
    for (const int32_t value : found->matrices[i]) {
      require(std::abs(value) <= kLargestMagnitude, "magnitudes are at most 2047");
      require(shapes[i].has_signs || value >= 0, "without signs nothing is negative");
    }
  Encoder encoder;
  const std::string shortest = encode(encoder, shapes, found->matrices);
  require(shortest.size() <= std::min(code.size(), found->taken), "the encoder finds the shortest");
  require(shortest.empty() || shortest.back() != 0, "a code does not end with 00");
  const std::optional<Decoded> again = decode(shortest, shapes);
  require(again.has_value(), "what the encoder writes decodes");
  require(again->matrices == found->matrices, "it decodes to the same integers");
  require(again->taken == found->taken, "as many bytes are taken for the same integers");
  return 0;
}
