// Four plain floats: the portable fallback, which a compiler may or may not vectorise.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

struct Vec4 {
  static constexpr int lanes = 4;
  static constexpr int accumulators = 8;
  float v[4];

  static Vec4 zero() { return {{0, 0, 0, 0}}; }
  static Vec4 set(float x) { return {{x, x, x, x}}; }
  static Vec4 load(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
  void store(float* p) const { std::memcpy(p, v, sizeof v); }
};

inline Vec4 operator+(Vec4 a, Vec4 b) {
  return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}};
}
inline Vec4 operator-(Vec4 a, Vec4 b) {
  return {{a.v[0] - b.v[0], a.v[1] - b.v[1], a.v[2] - b.v[2], a.v[3] - b.v[3]}};
}
inline Vec4 operator*(Vec4 a, Vec4 b) {
  return {{a.v[0] * b.v[0], a.v[1] * b.v[1], a.v[2] * b.v[2], a.v[3] * b.v[3]}};
}
inline Vec4 multiply_add(Vec4 a, Vec4 b, Vec4 c) { return a * b + c; }

// value with its sign flipped where the lowest mantissa bit of `parity` is set.
inline Vec4 flip_sign_by_parity(Vec4 value, Vec4 parity) {
  uint32_t bits[4], odd[4];
  std::memcpy(bits, value.v, sizeof bits);
  std::memcpy(odd, parity.v, sizeof odd);
  for (int i = 0; i < 4; ++i) bits[i] ^= odd[i] << 31;
  std::memcpy(value.v, bits, sizeof bits);
  return value;
}

using Vec = Vec4;

}  // namespace
