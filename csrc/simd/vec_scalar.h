// Four floats in the compiler's own vector type: the portable fallback, on any processor.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

struct Vec4 {
  using Floats = float __attribute__((vector_size(16)));
  using Bits = uint32_t __attribute__((vector_size(16)));
  static constexpr int lanes = 4;
  static constexpr int accumulators = 8;
  Floats v;

  static Vec4 zero() { return {Floats{}}; }
  static Vec4 set(float x) { return {Floats{x, x, x, x}}; }
  static Vec4 load(const float* p) {
    Vec4 found;
    std::memcpy(&found.v, p, sizeof found.v);
    return found;
  }
  void store(float* p) const { std::memcpy(p, &v, sizeof v); }
};

inline Vec4 operator+(Vec4 a, Vec4 b) { return {a.v + b.v}; }
inline Vec4 operator-(Vec4 a, Vec4 b) { return {a.v - b.v}; }
inline Vec4 operator*(Vec4 a, Vec4 b) { return {a.v * b.v}; }
inline Vec4 multiply_add(Vec4 a, Vec4 b, Vec4 c) { return {a.v * b.v + c.v}; }

// value with its sign flipped where the lowest mantissa bit of `parity` is set.
inline Vec4 flip_sign_by_parity(Vec4 value, Vec4 parity) {
  return {(Vec4::Floats)((Vec4::Bits)value.v ^ ((Vec4::Bits)parity.v << 31))};
}

using Vec = Vec4;

}  // namespace
