// Sixteen floats, and pairs of bfloat16, in plain C++: what vec_avx512.h and bfloat16_avx512.h
// have, for the emulation of tiles on any processor. It is not meant to be fast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "simd/inline.h"
#include "simd/pair.h"

namespace {

using tcnn_codec::Pair;

template <int LANES>
struct PlainVec {
  static constexpr int lanes = LANES;
  static constexpr int accumulators = 24;
  float v[LANES];

  static PlainVec zero() { return set(0); }
  static PlainVec set(float x) {
    PlainVec made;
    for (float& lane : made.v) lane = x;
    return made;
  }
  static PlainVec load(const float* p) {
    PlainVec made;
    std::memcpy(made.v, p, sizeof made.v);
    return made;
  }
  void store(float* p) const { std::memcpy(p, v, sizeof v); }
};

template <int N, class F>
INLINE PlainVec<N> by_lanes(const F& f) {
  PlainVec<N> made;
  for (int i = 0; i < N; ++i) made.v[i] = f(i);
  return made;
}

template <int N>
INLINE PlainVec<N> operator+(const PlainVec<N>& a, const PlainVec<N>& b) {
  return by_lanes<N>([&](int i) { return a.v[i] + b.v[i]; });
}
template <int N>
INLINE PlainVec<N> operator-(const PlainVec<N>& a, const PlainVec<N>& b) {
  return by_lanes<N>([&](int i) { return a.v[i] - b.v[i]; });
}
template <int N>
INLINE PlainVec<N> operator*(const PlainVec<N>& a, const PlainVec<N>& b) {
  return by_lanes<N>([&](int i) { return a.v[i] * b.v[i]; });
}
template <int N>
INLINE PlainVec<N> multiply_add(const PlainVec<N>& a, const PlainVec<N>& b, const PlainVec<N>& c) {
  return by_lanes<N>([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}

INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

INLINE float of_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// value with its sign flipped where the lowest mantissa bit of `parity` is set.
template <int N>
INLINE PlainVec<N> flip_sign_by_parity(const PlainVec<N>& value, const PlainVec<N>& parity) {
  return by_lanes<N>(
      [&](int i) { return of_bits(bits_of(value.v[i]) ^ bits_of(parity.v[i]) << 31); });
}

using Vec = PlainVec<16>;
using Vec4 = PlainVec<4>;

// Sixteen pairs of bfloat16.
struct Pairs16 {
  Pair v[16];

  void store(Pair* p) const { std::memcpy(p, v, sizeof v); }
};

// Two pixels' values at the same sixteen features, as bfloat16.
struct Rounded {
  uint16_t low[16], high[16];
};

// To nearest, ties to even; denormals are zero, and what is no number stays none.
INLINE uint16_t to_bfloat16(float x) {
  const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return uint16_t(bits >> 16 | 0x40);
  if (magnitude < 0x00800000) return uint16_t(bits >> 16 & 0x8000);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

INLINE Pair pair_of(uint16_t low, uint16_t high) { return {low | uint32_t(high) << 16}; }

INLINE Rounded round_both(const Vec& low, const Vec& high) {
  Rounded made;
  for (int i = 0; i < 16; ++i) {
    made.low[i] = to_bfloat16(low.v[i]);
    made.high[i] = to_bfloat16(high.v[i]);
  }
  return made;
}

INLINE void store_rows(const Rounded& both, Pair* low, Pair* high) {
  for (int i = 0; i < 8; ++i) {
    low[i] = pair_of(both.low[2 * i], both.low[2 * i + 1]);
    high[i] = pair_of(both.high[2 * i], both.high[2 * i + 1]);
  }
}

INLINE Pairs16 interleave(const Rounded& both) {
  Pairs16 made;
  for (int i = 0; i < 16; ++i) made.v[i] = pair_of(both.low[i], both.high[i]);
  return made;
}

INLINE Pairs16 load_pairs(const Pair* p) {
  Pairs16 made;
  std::memcpy(made.v, p, sizeof made.v);
  return made;
}

INLINE Vec low_halves(const Pairs16& x) {
  return by_lanes<16>([&](int i) { return of_bits(x.v[i].bits << 16); });
}
INLINE Vec high_halves(const Pairs16& x) {
  return by_lanes<16>([&](int i) { return of_bits(x.v[i].bits & 0xffff0000); });
}

// Values [pixels, 4] as pairs of neighbouring values, [pixels, 2], and of neighbouring pixels,
// [pixels / 2, 4]. pixels: a multiple of 4.
INLINE void round_by_four(const float* values, int pixels, Pair* rows, Pair* pairs) {
  for (int p = 0; p < pixels; ++p)
    for (int c = 0; c < 4; c += 2)
      rows[2 * p + c / 2] =
          pair_of(to_bfloat16(values[4 * p + c]), to_bfloat16(values[4 * p + c + 1]));
  for (int p = 0; p < pixels; p += 2)
    for (int c = 0; c < 4; ++c)
      pairs[2 * p + c] =
          pair_of(to_bfloat16(values[4 * p + c]), to_bfloat16(values[4 * p + 4 + c]));
}

// A square of 16 x 16 words, transposed.
INLINE void transpose_words(const Pair* from, ptrdiff_t from_row, Pair* to, ptrdiff_t to_row) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) to[j * to_row + i] = from[i * from_row + j];
}

}  // namespace
