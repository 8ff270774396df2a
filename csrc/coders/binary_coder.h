// Adaptive binary arithmetic coding of matrices of integers, one after another in one code;
// docs/format.md is normative. Integers only: every machine writes and reads the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tcnn_codec {

constexpr int32_t kLargestMagnitude = 2047;

// The code so far is the interval [low, low + width); low's digits above the last 32 bits are in
// bytes. Bin 1 takes the lower part.
class Encoder {
 public:
  // values [rows, columns], each at most kLargestMagnitude in magnitude; rows, columns >= 1. Values
  // that are never negative take no signs.
  void add(const int32_t* values, int64_t rows, int64_t columns, bool has_signs);
  // The shortest string that decodes to the matrices when zero bytes follow it without end; the
  // encoder begins anew.
  std::string finish();
  // One bin, given the probability of a 1 in units of 2^-16; returns it.
  bool code(uint32_t probability, bool bin);

 private:
  void raise(uint64_t amount);
  void shift();
  uint64_t low_ = 0;
  uint64_t width_ = uint64_t(1) << 32;
  std::string bytes_;
};

class Decoder {
 public:
  // code [size] outlives the decoder; zeros are taken for what is behind its end.
  Decoder(const uint8_t* code, size_t size);
  // The next matrix. Throws std::invalid_argument on a magnitude above kLargestMagnitude.
  void take(int32_t* values, int64_t rows, int64_t columns, bool has_signs);
  // Bytes taken so far, those behind the end included.
  size_t taken() const { return taken_; }
  // The next bin; the second argument is for the encoder's sake.
  bool code(uint32_t probability, bool);

 private:
  void shift();
  const uint8_t* code_;
  size_t size_;
  size_t taken_ = 0;
  uint64_t offset_ = 0;  // of the code from the interval's low end
  uint64_t width_ = uint64_t(1) << 32;
};

}  // namespace tcnn_codec
