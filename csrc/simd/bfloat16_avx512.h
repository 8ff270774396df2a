// Rounding to bfloat16 and the layouts of pairs, with AVX512_BF16. Include after vec_avx512.h.
#pragma once

#include "simd/inline.h"

namespace {

// Masked forms with every lane set stand for plain ones: GCC 12 warns of an uninitialised value
// inside those (GCC bug 105593), and makes the same instruction of both.

// Two pixels' values at the same sixteen features, as bfloat16: `low` and then `high`.
using Rounded = __m512i;

INLINE Rounded round_both(Vec low, Vec high) { return (__m512i)_mm512_cvtne2ps_pbh(high.v, low.v); }

INLINE void store_rows(Rounded both, Pair* low, Pair* high) {
  __builtin_memcpy(low, &both, sizeof(__m256i));
  _mm256_storeu_si256((__m256i*)high, _mm512_maskz_extracti64x4_epi64(0xff, both, 1));
}

INLINE Pairs16 interleave(Rounded both) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return {_mm512_maskz_permutexvar_epi16(~0u, order, both)};
}

INLINE Pairs16 load_pairs(const Pair* p) { return Vec::load(p); }

INLINE Vec low_halves(Pairs16 x) { return {_mm512_castsi512_ps((__m512i)((__v16su)x.v << 16))}; }
INLINE Vec high_halves(Pairs16 x) {
  return {_mm512_castsi512_ps((__m512i)((__v16su)x.v & (__v16su)_mm512_set1_epi32(-0x10000)))};
}

// Values [pixels, 4] as pairs of neighbouring values, [pixels, 2], and of neighbouring pixels,
// [pixels / 2, 4]. pixels: a multiple of 4.
INLINE void round_by_four(const float* values, int pixels, Pair* rows, Pair* pairs) {
  const __m256i order = _mm256_set_epi16(15, 11, 14, 10, 13, 9, 12, 8, 7, 3, 6, 2, 5, 1, 4, 0);
  for (int i = 0; i < 2 * pixels; i += 8) {
    const __m256i four_pixels = (__m256i)_mm512_cvtneps_pbh(Vec::load(values + 2 * i).v);
    _mm256_storeu_si256((__m256i*)(rows + i), four_pixels);
    _mm256_storeu_si256((__m256i*)(pairs + i), _mm256_permutexvar_epi16(order, four_pixels));
  }
}

// A square of 16 x 16 words, transposed.
INLINE void transpose_words(const Pair* from, ptrdiff_t from_row, Pair* to, ptrdiff_t to_row) {
  __m512i a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(from + i * from_row);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_maskz_unpacklo_epi32(0xffff, a[i], a[i + 1]);
    b[i + 1] = _mm512_maskz_unpackhi_epi32(0xffff, a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_maskz_unpacklo_epi64(0xff, b[i], b[i + 2]);
    a[i + 1] = _mm512_maskz_unpackhi_epi64(0xff, b[i], b[i + 2]);
    a[i + 2] = _mm512_maskz_unpacklo_epi64(0xff, b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_maskz_unpackhi_epi64(0xff, b[i + 1], b[i + 3]);
  }
  // Now a[4 g + c] has, in its 128-bit lane l, column 4 l + c of rows 4 g to 4 g + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i even = _mm512_maskz_shuffle_i32x4(0xffff, a[c], a[4 + c], 0x88);
    const __m512i odd = _mm512_maskz_shuffle_i32x4(0xffff, a[c], a[4 + c], 0xdd);
    const __m512i later_even = _mm512_maskz_shuffle_i32x4(0xffff, a[8 + c], a[12 + c], 0x88);
    const __m512i later_odd = _mm512_maskz_shuffle_i32x4(0xffff, a[8 + c], a[12 + c], 0xdd);
    const __m512i columns[4] = {_mm512_maskz_shuffle_i32x4(0xffff, even, later_even, 0x88),
                                _mm512_maskz_shuffle_i32x4(0xffff, odd, later_odd, 0x88),
                                _mm512_maskz_shuffle_i32x4(0xffff, even, later_even, 0xdd),
                                _mm512_maskz_shuffle_i32x4(0xffff, odd, later_odd, 0xdd)};
#pragma GCC unroll 4
    for (int lane = 0; lane < 4; ++lane)
      _mm512_storeu_si512(to + (4 * lane + c) * to_row, columns[lane]);
  }
}

}  // namespace
