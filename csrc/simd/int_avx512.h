// Sixteen int32, and sixteen pairs of int16, in a zmm register.
#pragma once

#include <immintrin.h>

#include "simd/pair.h"

namespace {

using tcnn_codec::Pair;

// Masked forms with every lane set, and the compiler's own operators, stand for plain intrinsics:
// GCC 12 warns of an uninitialised value inside those (GCC bug 105593).

struct Pairs {
  __m512i v;

  static Pairs set(int x) { return {_mm512_set1_epi16(short(x))}; }
  void store(Pair* p) const { _mm512_storeu_si512(p, v); }
  // Makes the compiler take it for another value.
  void forget() { asm volatile("" : "+v"(v)); }
};

struct Sums {
  static constexpr int lanes = 16;
  static constexpr int accumulators = 24;
  __m512i v;

  static Sums zero() { return {_mm512_setzero_si512()}; }
  static Sums set(uint32_t x) { return {_mm512_set1_epi32(int(x))}; }
  static Sums load(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
  static Pairs set(Pair x) { return {_mm512_set1_epi32(int(x.bits))}; }
  static Pairs load(const Pair* p) { return {_mm512_loadu_si512(p)}; }
  void store(uint32_t* p) const { _mm512_storeu_si512(p, v); }

  // Where pixel p's first or second number lies in an array of Pair, in numbers of 16 bits.
  static constexpr int place(int p, int second) { return 2 * p + second; }
};

inline Sums operator+(Sums a, Sums b) { return {(__m512i)((__v16su)a.v + (__v16su)b.v)}; }
inline Sums operator|(Sums a, Sums b) { return {_mm512_or_si512(a.v, b.v)}; }
inline Sums operator<<(Sums a, int n) { return {(__m512i)((__v16su)a.v << uint32_t(n))}; }

inline Pairs operator+(Pairs a, Pairs b) { return {_mm512_add_epi16(a.v, b.v)}; }
inline Pairs operator^(Pairs a, Pairs b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline Pairs sign(Pairs a) { return {_mm512_srai_epi16(a.v, 15)}; }
// (a * b + 2^14) >> 15
inline Pairs mul(Pairs a, Pairs b) { return {_mm512_mulhrs_epi16(a.v, b.v)}; }

// c plus both products of each pair. One statement for the compiler, as in int_avx2.h.
inline Sums multiply_add(Pairs a, Pairs b, Sums c) {
#ifdef __AVX512VNNI__
  asm("vpdpwssd %2, %1, %0" : "+v"(c.v) : "v"(a.v), "vm"(b.v));
#else
  __m512i products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
      : "+v"(c.v), "=&v"(products)
      : "v"(a.v), "vm"(b.v));
#endif
  return c;
}

// The upper halves of words that are first shifted left by 0 to 16.
struct UpperHalves {
  __v16su left, right;
  explicit UpperHalves(int shift)
      : left((__v16su)_mm512_set1_epi32(shift)), right((__v16su)_mm512_set1_epi32(16 - shift)) {}

  Pairs operator()(Sums first, Sums second) const {
    const __m512i low = (__m512i)((__v16su)first.v >> right);
    const __m512i high = (__m512i)((__v16su)second.v << left);
    return {_mm512_mask_blend_epi16(0xaaaaaaaa, low, high)};
  }
};

// clamp((sum * multiplier + start) >> 26, 0, 255), in 64 bits, of at most 2^53 in magnitude.
struct Levels {
  __m512i multiplier, start;
  Levels(int32_t multiplier_, int64_t start_)
      : multiplier(_mm512_set1_epi32(multiplier_)),
        start(_mm512_set1_epi64(start_ + (int64_t(1) << 53))) {}

  // Shifted in two directions, so that the 28 bits above 2^26 of both come to lie in one word's.
  Sums operator()(Sums sum) const {
    const __m512i second = (__m512i)((__v8du)sum.v >> 32);
    const __v8du even = (__v8du)_mm512_maskz_mul_epi32(0xff, sum.v, multiplier) + (__v8du)start;
    const __v8du odd = (__v8du)_mm512_maskz_mul_epi32(0xff, second, multiplier) + (__v8du)start;
    const __m512i both =
        _mm512_mask_blend_epi32(0xaaaa, (__m512i)(even >> 26), (__m512i)(odd << 6));
    const __m512i level = (__m512i)((__v16su)both - (1u << 27));
    return {_mm512_maskz_min_epi32(0xffff,
                                   _mm512_maskz_max_epi32(0xffff, level, _mm512_setzero_si512()),
                                   _mm512_set1_epi32(255))};
  }
};

}  // namespace
