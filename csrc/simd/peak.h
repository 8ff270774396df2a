// What the kernels are measured against, and no part of them: how fast one thread can multiply and
// add. Include peak.inl after the unit's vec_*.h for the loops.
#pragma once

#include <cstdint>
#include <string>

namespace tcnn_codec {

// Multiply-adds per second of one thread, in units of 1e9, from registers alone. isa: one that this
// machine has. bfloat16: those of pairs. Throws std::invalid_argument for another.
double fma_peak(const std::string& isa, double seconds, bool bfloat16);

// `rounds` x 24 independent fused multiply-adds of so many lanes; a value that depends on all.
struct PeakLoop {
  const char* isa;
  int lanes;
  float (*run)(int64_t rounds);
};

PeakLoop scalar_peak();
#ifdef TCNN_CODEC_X86
PeakLoop avx2_peak();
PeakLoop avx512_peak();
#endif
#ifdef TCNN_CODEC_BFLOAT16
PeakLoop avx512_bfloat16_peak();
#endif
#ifdef TCNN_CODEC_AMX
PeakLoop amx_peak();
#endif

}  // namespace tcnn_codec
