// Training in bfloat16 with vdpbf16ps: two products a lane and instruction.

#include "simd/vec_avx512.h"
//
#include "simd/bfloat16_avx512.h"
#include "simd/peak.h"
#include "siren/cpu/vector_products.h"
//
#include "siren/cpu/siren_bfloat16.inl"

namespace {

float fma_rounds(int64_t rounds) {
  Vec sum[24];
  for (int i = 0; i < 24; ++i) sum[i] = Vec::set(float(i));
  // Not constants to the compiler, which would not multiply by them then.
  Pairs16 a = Vec::set(Pair{0x3c003c00}), b = a;
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(a.v), "+v"(b.v));
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sum[i] = multiply_add(a, b, sum[i]);
  }
  float lanes[Vec::lanes], total = 0;
  for (int i = 0; i < 24; ++i) {
    sum[i].store(lanes);
    total += lanes[0];
  }
  return total;
}

}  // namespace

namespace tcnn_codec {

const Bfloat16Kernels& avx512_bfloat16_kernels() { return bfloat16_kernels; }

PeakLoop avx512_bfloat16_peak() { return {"avx512", Vec::lanes, fma_rounds}; }

}  // namespace tcnn_codec
