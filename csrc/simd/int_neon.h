// Four int32, and four pairs of int16, in a NEON register of aarch64. Pairs lie apart: the first
// numbers of four pixels, then the second ones.
#pragma once

#include <arm_neon.h>

#include "simd/pair.h"

namespace {

using tcnn_codec::Pair;

struct Pairs {
  int16x8_t v;

  static Pairs set(int x) { return {vdupq_n_s16(int16_t(x))}; }
  void store(Pair* p) const { vst1q_u32(&p->bits, vreinterpretq_u32_s16(v)); }
  // Makes the compiler take it for another value.
  void forget() { asm volatile("" : "+w"(v)); }
};

struct Sums {
  static constexpr int lanes = 4;
  static constexpr int accumulators = 24;
  uint32x4_t v;

  static Sums zero() { return {vdupq_n_u32(0)}; }
  static Sums set(uint32_t x) { return {vdupq_n_u32(x)}; }
  static Sums load(const uint32_t* p) { return {vld1q_u32(p)}; }
  static Pairs set(Pair x) { return {vreinterpretq_s16_u32(vdupq_n_u32(x.bits))}; }
  static Pairs load(const Pair* p) { return {vreinterpretq_s16_u32(vld1q_u32(&p->bits))}; }
  void store(uint32_t* p) const { vst1q_u32(p, v); }

  // Where pixel p's first or second number lies in an array of Pair, in numbers of 16 bits.
  static constexpr int place(int p, int second) { return p / 4 * 8 + second * 4 + p % 4; }
};

inline Sums operator+(Sums a, Sums b) { return {vaddq_u32(a.v, b.v)}; }
inline Sums operator|(Sums a, Sums b) { return {vorrq_u32(a.v, b.v)}; }
inline Sums operator<<(Sums a, int n) { return {vshlq_u32(a.v, vdupq_n_s32(n))}; }

inline Pairs operator+(Pairs a, Pairs b) { return {vaddq_s16(a.v, b.v)}; }
inline Pairs operator^(Pairs a, Pairs b) { return {veorq_s16(a.v, b.v)}; }
inline Pairs sign(Pairs a) { return {vshrq_n_s16(a.v, 15)}; }
// (a * b + 2^14) >> 15
inline Pairs mul(Pairs a, Pairs b) { return {vqrdmulhq_s16(a.v, b.v)}; }

// c plus both products of each pair. a is one pair, broadcast.
inline Sums multiply_add(Pairs a, Pairs b, Sums c) {
  const int16x4_t pair = vget_low_s16(a.v);
  const int32x4_t first = vmlal_lane_s16(vreinterpretq_s32_u32(c.v), vget_low_s16(b.v), pair, 0);
  return {vreinterpretq_u32_s32(vmlal_high_lane_s16(first, b.v, pair, 1))};
}

// The upper halves of words that are first shifted left by 0 to 16.
struct UpperHalves {
  int32x4_t left;
  explicit UpperHalves(int shift) : left(vdupq_n_s32(shift)) {}

  Pairs operator()(Sums first, Sums second) const {
    return {vuzp2q_s16(vreinterpretq_s16_u32(vshlq_u32(first.v, left)),
                       vreinterpretq_s16_u32(vshlq_u32(second.v, left)))};
  }
};

// clamp((sum * multiplier + start) >> 26, 0, 255), in 64 bits, of at most 2^53 in magnitude.
struct Levels {
  int32_t multiplier;
  int64x2_t start;
  Levels(int32_t multiplier_, int64_t start_)
      : multiplier(multiplier_), start(vdupq_n_s64(start_)) {}

  Sums operator()(Sums sum) const {
    const int32x4_t s = vreinterpretq_s32_u32(sum.v);
    const int64x2_t low = vaddq_s64(vmull_n_s32(vget_low_s32(s), multiplier), start);
    const int64x2_t high = vaddq_s64(vmull_n_s32(vget_high_s32(s), multiplier), start);
    const int32x4_t level = vcombine_s32(vshrn_n_s64(low, 26), vshrn_n_s64(high, 26));
    return {vreinterpretq_u32_s32(vminq_s32(vmaxq_s32(level, vdupq_n_s32(0)), vdupq_n_s32(255)))};
  }
};

}  // namespace
