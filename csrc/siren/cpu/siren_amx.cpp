// Training in bfloat16 in the tile registers of AMX; all else in AVX-512.

#define TCNN_CODEC_TILE 64
#include "simd/vec_avx512.h"
//
#include "simd/bfloat16_avx512.h"
#include "simd/peak.h"
#include "siren/cpu/tile_products.h"
//
#include "siren/cpu/siren_bfloat16.inl"

namespace {

float multiply_add_rounds(int64_t rounds) {
  const TilesInUse in_use;
  alignas(64) float sums[kTileSide * kTileSide];
  Squares<2, 2>::zero();
  tile_zero<4>();
  tile_zero<5>();
  tile_zero<6>();
  tile_zero<7>();
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      tile_multiply_add<0, 4, 6>();
      tile_multiply_add<1, 4, 7>();
      tile_multiply_add<2, 5, 6>();
      tile_multiply_add<3, 5, 7>();
    }
  }
  tile_store<0>(sums, kTileSide);
  return sums[0];
}

}  // namespace

namespace tcnn_codec {

const Bfloat16Kernels& amx_kernels() { return bfloat16_kernels; }

// A product of two tiles is as many multiply-adds of pairs.
PeakLoop amx_peak() { return {"amx", kTileSide * kTileSide * kTileSide, multiply_add_rounds}; }

}  // namespace tcnn_codec
