// Products of pairs of bfloat16 in the tile registers of AMX, of 16 rows of 16 words each. With
// TCNN_CODEC_AMX_EMULATED the same in plain C++, by Intel's description of the instructions, so
// that what is built upon them can be tested on any processor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd/inline.h"
#include "simd/pair.h"

namespace {

constexpr int kTileSide = 16;

#ifdef TCNN_CODEC_AMX_EMULATED

struct TileRegister {
  uint32_t word[kTileSide][kTileSide];
};
thread_local TileRegister tile_registers[8];

// Tiles may be used while one of these lives.
class TilesInUse {
 public:
  TilesInUse() {}
};

template <int T>
INLINE void tile_zero() {
  __builtin_memset(&tile_registers[T], 0, sizeof(TileRegister));
}

// row: from one row to the next, in words.
template <int T>
INLINE void tile_load(const void* from, ptrdiff_t row) {
  for (int i = 0; i < kTileSide; ++i)
    __builtin_memcpy(tile_registers[T].word[i], static_cast<const uint32_t*>(from) + i * row, 64);
}

template <int T>
INLINE void tile_store(float* to, ptrdiff_t row) {
  for (int i = 0; i < kTileSide; ++i) __builtin_memcpy(to + i * row, tile_registers[T].word[i], 64);
}

INLINE float emulated_half(uint32_t word, bool high) {
  const uint32_t bits = high ? word & 0xffff0000 : word << 16;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// C [16, 16] += A [16, 32] B [32, 16]: products of even and of odd numbers are summed apart, then
// added, then added to C. They are exact in float32.
template <int C, int A, int B>
INLINE void tile_multiply_add() {
  for (int m = 0; m < kTileSide; ++m) {
    float even[kTileSide] = {}, odd[kTileSide] = {};
    for (int k = 0; k < kTileSide; ++k) {
      const uint32_t a = tile_registers[A].word[m][k];
      const float low = emulated_half(a, false), high = emulated_half(a, true);
      for (int n = 0; n < kTileSide; ++n) {
        const uint32_t b = tile_registers[B].word[k][n];
        even[n] += low * emulated_half(b, false);
        odd[n] += high * emulated_half(b, true);
      }
    }
    float sums[kTileSide];
    __builtin_memcpy(sums, tile_registers[C].word[m], sizeof sums);
    for (int n = 0; n < kTileSide; ++n) sums[n] += even[n] + odd[n];
    __builtin_memcpy(tile_registers[C].word[m], sums, sizeof sums);
  }
}

#else

// Every tile has 16 rows of 64 bytes while one of these lives; after it the processor need not keep
// the tiles of this thread any longer. The process must have the system's permission.
class TilesInUse {
 public:
  TilesInUse() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    for (int tile = 0; tile < 8; ++tile) {
      shapes.row_bytes[tile] = 4 * kTileSide;
      shapes.rows[tile] = kTileSide;
    }
    static_assert(sizeof shapes == 64);
    asm volatile("ldtilecfg %0" ::"m"(shapes));
  }
  ~TilesInUse() { asm volatile("tilerelease"); }
  TilesInUse(const TilesInUse&) = delete;
  TilesInUse& operator=(const TilesInUse&) = delete;
};

template <int T>
INLINE void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}

// row: from one row to the next, in words.
template <int T>
INLINE void tile_load(const void* from, ptrdiff_t row) {
  asm volatile("tileloadd (%0,%1), %%tmm%c2" ::"r"(from), "r"(4 * row), "i"(T) : "memory");
}

template <int T>
INLINE void tile_store(float* to, ptrdiff_t row) {
  asm volatile("tilestored %%tmm%c2, (%0,%1)" ::"r"(to), "r"(4 * row), "i"(T) : "memory");
}

// C [16, 16] += A [16, 32] B [32, 16], A in pairs along its rows, B in pairs of rows.
template <int C, int A, int B>
INLINE void tile_multiply_add() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#endif

}  // namespace
