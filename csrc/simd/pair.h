// Two numbers of 16 bits in one word, as products of pairs take them.
#pragma once

#include <cstdint>

namespace tcnn_codec {

// Two bfloat16, or two int16, in one word, the first in its low half.
struct Pair {
  uint32_t bits;
};

}  // namespace tcnn_codec
