// Four int32, and four pairs of int16, in an xmm register.
#pragma once

#include <smmintrin.h>

#include "simd/pair.h"

namespace {

using tcnn_codec::Pair;

struct Pairs {
  __m128i v;

  static Pairs set(int x) { return {_mm_set1_epi16(short(x))}; }
  void store(Pair* p) const { _mm_storeu_si128((__m128i*)p, v); }
  // Makes the compiler take it for another value.
  void forget() { asm volatile("" : "+x"(v)); }
};

struct Sums {
  static constexpr int lanes = 4;
  static constexpr int accumulators = 8;
  __m128i v;

  static Sums zero() { return {_mm_setzero_si128()}; }
  static Sums set(uint32_t x) { return {_mm_set1_epi32(int(x))}; }
  static Sums load(const uint32_t* p) { return {_mm_loadu_si128((const __m128i*)p)}; }
  static Pairs set(Pair x) { return {_mm_set1_epi32(int(x.bits))}; }
  static Pairs load(const Pair* p) { return {_mm_loadu_si128((const __m128i*)p)}; }
  void store(uint32_t* p) const { _mm_storeu_si128((__m128i*)p, v); }

  // Where pixel p's first or second number lies in an array of Pair, in numbers of 16 bits.
  static constexpr int place(int p, int second) { return 2 * p + second; }
};

inline Sums operator+(Sums a, Sums b) { return {_mm_add_epi32(a.v, b.v)}; }
inline Sums operator|(Sums a, Sums b) { return {_mm_or_si128(a.v, b.v)}; }
inline Sums operator<<(Sums a, int n) { return {_mm_slli_epi32(a.v, n)}; }

inline Pairs operator+(Pairs a, Pairs b) { return {_mm_add_epi16(a.v, b.v)}; }
inline Pairs operator^(Pairs a, Pairs b) { return {_mm_xor_si128(a.v, b.v)}; }
inline Pairs sign(Pairs a) { return {_mm_srai_epi16(a.v, 15)}; }
// (a * b + 2^14) >> 15
inline Pairs mul(Pairs a, Pairs b) { return {_mm_mulhrs_epi16(a.v, b.v)}; }

// c plus both products of each pair.
inline Sums multiply_add(Pairs a, Pairs b, Sums c) { return c + Sums{_mm_madd_epi16(a.v, b.v)}; }

// The upper halves of words that are first shifted left by 0 to 16.
struct UpperHalves {
  __m128i left, right;
  explicit UpperHalves(int shift)
      : left(_mm_cvtsi32_si128(shift)), right(_mm_cvtsi32_si128(16 - shift)) {}

  Pairs operator()(Sums first, Sums second) const {
    return {_mm_blend_epi16(_mm_srl_epi32(first.v, right), _mm_sll_epi32(second.v, left), 0xaa)};
  }
};

// clamp((sum * multiplier + start) >> 26, 0, 255), in 64 bits, of at most 2^53 in magnitude.
struct Levels {
  __m128i multiplier, start;
  Levels(int32_t multiplier_, int64_t start_)
      : multiplier(_mm_set1_epi32(multiplier_)),
        start(_mm_set1_epi64x(start_ + (int64_t(1) << 53))) {}

  // Shifted in two directions, so that the 28 bits above 2^26 of both come to lie in one word's.
  Sums operator()(Sums sum) const {
    const __m128i second = _mm_srli_epi64(sum.v, 32);
    const __m128i even = _mm_add_epi64(_mm_mul_epi32(sum.v, multiplier), start);
    const __m128i odd = _mm_add_epi64(_mm_mul_epi32(second, multiplier), start);
    const __m128i both = _mm_blend_epi16(_mm_srli_epi64(even, 26), _mm_slli_epi64(odd, 6), 0xcc);
    const __m128i level = _mm_sub_epi32(both, _mm_set1_epi32(1 << 27));
    return {_mm_min_epi32(_mm_max_epi32(level, _mm_setzero_si128()), _mm_set1_epi32(255))};
  }
};

}  // namespace
