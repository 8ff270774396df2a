// Sixteen floats in a zmm register.
#pragma once

#define TCNN_CODEC_AVX512
#include "simd/vec_avx2.h"

namespace {

#ifdef __AVX512BF16__
// Sixteen pairs of bfloat16.
struct Pairs16 {
  __m512i v;

  void store(Pair* p) const { _mm512_storeu_si512(p, v); }
};
#endif

struct Vec16 {
  static constexpr int lanes = 16;
  static constexpr int accumulators = 24;
  __m512 v;

#ifdef __AVX512BF16__
  static Pairs16 set(Pair x) { return {_mm512_set1_epi32(int(x.bits))}; }
  static Pairs16 load(const Pair* p) { return {_mm512_loadu_si512(p)}; }
#endif

  static Vec16 zero() { return {_mm512_setzero_ps()}; }
  static Vec16 set(float x) { return {_mm512_set1_ps(x)}; }
  static Vec16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
};

inline Vec16 operator+(Vec16 a, Vec16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec16 operator-(Vec16 a, Vec16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec16 operator*(Vec16 a, Vec16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec16 multiply_add(Vec16 a, Vec16 b, Vec16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }

#ifdef __AVX512BF16__
// c plus both products of each pair.
inline Vec16 multiply_add(Pairs16 a, Pairs16 b, Vec16 c) {
  return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)};
}
#endif

// value with its sign flipped where the lowest mantissa bit of `parity` is set.
inline Vec16 flip_sign_by_parity(Vec16 value, Vec16 parity) {
  // Not _mm512_slli_epi32: GCC 12 warns of an uninitialised value inside it (GCC bug 105593).
  const __m512i sign = (__m512i)((__v16su)_mm512_castps_si512(parity.v) << 31);
  return {_mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(value.v), sign))};
}

using Vec = Vec16;

}  // namespace
