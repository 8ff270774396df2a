// Binarised adaptive arithmetic coding of one matrix of integers; docs/format.md is normative.
// Integers only: every machine writes and reads the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tcnn_codec {

constexpr int32_t kLargestMagnitude = 2047;

// The code of values [rows, columns], each at most kLargestMagnitude in magnitude; rows, columns
// >= 1. The shortest string that decodes to them when zero bytes follow it without end.
std::string encode_binary(const int32_t* values, int64_t rows, int64_t columns);

// Fills values [rows, columns] from code [size]; takes zeros for what is behind its end, and does
// not tell whether an encoder would have written it. Throws std::invalid_argument on a magnitude
// above kLargestMagnitude.
void decode_binary(const uint8_t* code, size_t size, int64_t rows, int64_t columns,
                   int32_t* values);

}  // namespace tcnn_codec
