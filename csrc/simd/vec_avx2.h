// Eight floats in a ymm register, and four in an xmm register for the output layer.
#pragma once

#include <immintrin.h>

#include "simd/pair.h"

namespace {

#ifdef __AVX512BF16__
using tcnn_codec::Pair;

// Four pairs of bfloat16.
struct Pairs4 {
  __m128i v;
};
#endif

struct Vec4 {
  static constexpr int lanes = 4;
  static constexpr int accumulators = 12;
  __m128 v;

#ifdef __AVX512BF16__
  static Pairs4 set(Pair x) { return {_mm_set1_epi32(int(x.bits))}; }
  static Pairs4 load(const Pair* p) { return {_mm_loadu_si128((const __m128i*)p)}; }
#endif

  static Vec4 zero() { return {_mm_setzero_ps()}; }
  static Vec4 set(float x) { return {_mm_set1_ps(x)}; }
  static Vec4 load(const float* p) { return {_mm_loadu_ps(p)}; }
  void store(float* p) const { _mm_storeu_ps(p, v); }
};

inline Vec4 operator+(Vec4 a, Vec4 b) { return {_mm_add_ps(a.v, b.v)}; }
inline Vec4 operator-(Vec4 a, Vec4 b) { return {_mm_sub_ps(a.v, b.v)}; }
inline Vec4 operator*(Vec4 a, Vec4 b) { return {_mm_mul_ps(a.v, b.v)}; }
inline Vec4 multiply_add(Vec4 a, Vec4 b, Vec4 c) { return {_mm_fmadd_ps(a.v, b.v, c.v)}; }

#ifdef __AVX512BF16__
// c plus both products of each pair.
inline Vec4 multiply_add(Pairs4 a, Pairs4 b, Vec4 c) {
  return {_mm_dpbf16_ps(c.v, (__m128bh)a.v, (__m128bh)b.v)};
}
#endif

#ifndef TCNN_CODEC_AVX512
struct Vec8 {
  static constexpr int lanes = 8;
  static constexpr int accumulators = 12;
  __m256 v;

  static Vec8 zero() { return {_mm256_setzero_ps()}; }
  static Vec8 set(float x) { return {_mm256_set1_ps(x)}; }
  static Vec8 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
};

inline Vec8 operator+(Vec8 a, Vec8 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec8 operator-(Vec8 a, Vec8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec8 operator*(Vec8 a, Vec8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec8 multiply_add(Vec8 a, Vec8 b, Vec8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }

// value with its sign flipped where the lowest mantissa bit of `parity` is set.
inline Vec8 flip_sign_by_parity(Vec8 value, Vec8 parity) {
  const __m256i sign = _mm256_slli_epi32(_mm256_castps_si256(parity.v), 31);
  return {_mm256_xor_ps(value.v, _mm256_castsi256_ps(sign))};
}

using Vec = Vec8;
#endif

}  // namespace
