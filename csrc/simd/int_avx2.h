// Eight int32, and eight pairs of int16, in a ymm register.
#pragma once

#include <immintrin.h>

#include "simd/pair.h"

namespace {

using tcnn_codec::Pair;

struct Pairs {
  __m256i v;

  static Pairs set(int x) { return {_mm256_set1_epi16(short(x))}; }
  void store(Pair* p) const { _mm256_storeu_si256((__m256i*)p, v); }
  // Makes the compiler take it for another value.
  void forget() { asm volatile("" : "+x"(v)); }
};

struct Sums {
  static constexpr int lanes = 8;
  static constexpr int accumulators = 12;
  __m256i v;

  static Sums zero() { return {_mm256_setzero_si256()}; }
  static Sums set(uint32_t x) { return {_mm256_set1_epi32(int(x))}; }
  static Sums load(const uint32_t* p) { return {_mm256_loadu_si256((const __m256i*)p)}; }
  static Pairs set(Pair x) { return {_mm256_set1_epi32(int(x.bits))}; }
  static Pairs load(const Pair* p) { return {_mm256_loadu_si256((const __m256i*)p)}; }
  void store(uint32_t* p) const { _mm256_storeu_si256((__m256i*)p, v); }

  // Where pixel p's first or second number lies in an array of Pair, in numbers of 16 bits.
  static constexpr int place(int p, int second) { return 2 * p + second; }
};

inline Sums operator+(Sums a, Sums b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline Sums operator|(Sums a, Sums b) { return {_mm256_or_si256(a.v, b.v)}; }
inline Sums operator<<(Sums a, int n) { return {_mm256_slli_epi32(a.v, n)}; }

inline Pairs operator+(Pairs a, Pairs b) { return {_mm256_add_epi16(a.v, b.v)}; }
inline Pairs operator^(Pairs a, Pairs b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline Pairs sign(Pairs a) { return {_mm256_srai_epi16(a.v, 15)}; }
// (a * b + 2^14) >> 15
inline Pairs mul(Pairs a, Pairs b) { return {_mm256_mulhrs_epi16(a.v, b.v)}; }

// c plus both products of each pair. One statement for the compiler, since GCC would do all
// products of a block before the additions, and spill them.
inline Sums multiply_add(Pairs a, Pairs b, Sums c) {
  __m256i products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
      : "+x"(c.v), "=&x"(products)
      : "x"(a.v), "xm"(b.v));
  return c;
}

// The upper halves of words that are first shifted left by 0 to 16.
struct UpperHalves {
  __m256i left, right;
  explicit UpperHalves(int shift)
      : left(_mm256_set1_epi32(shift)), right(_mm256_set1_epi32(16 - shift)) {}

  Pairs operator()(Sums first, Sums second) const {
    return {_mm256_blend_epi16(_mm256_srlv_epi32(first.v, right), _mm256_sllv_epi32(second.v, left),
                               0xaa)};
  }
};

// clamp((sum * multiplier + start) >> 26, 0, 255), in 64 bits, of at most 2^53 in magnitude.
struct Levels {
  __m256i multiplier, start;
  Levels(int32_t multiplier_, int64_t start_)
      : multiplier(_mm256_set1_epi32(multiplier_)),
        start(_mm256_set1_epi64x(start_ + (int64_t(1) << 53))) {}

  // Shifted in two directions, so that the 28 bits above 2^26 of both come to lie in one word's.
  Sums operator()(Sums sum) const {
    const __m256i second = _mm256_srli_epi64(sum.v, 32);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(sum.v, multiplier), start);
    const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(second, multiplier), start);
    const __m256i both =
        _mm256_blend_epi32(_mm256_srli_epi64(even, 26), _mm256_slli_epi64(odd, 6), 0xaa);
    const __m256i level = _mm256_sub_epi32(both, _mm256_set1_epi32(1 << 27));
    return {
        _mm256_min_epi32(_mm256_max_epi32(level, _mm256_setzero_si256()), _mm256_set1_epi32(255))};
  }
};

}  // namespace
