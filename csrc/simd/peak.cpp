#include "simd/peak.h"

#include <stdexcept>

#include "simd/processor.h"
#include "simd/time_peak.h"

namespace tcnn_codec {
namespace {

PeakLoop loop_of(const std::string& isa, bool bfloat16) {
#ifdef TCNN_CODEC_AMX
  if (bfloat16 && isa == "amx" && has_amx()) return amx_peak();
#endif
#ifdef TCNN_CODEC_BFLOAT16
  if (bfloat16 && isa == "avx512" && has_avx512_bfloat16()) return avx512_bfloat16_peak();
#endif
#ifdef TCNN_CODEC_X86
  if (!bfloat16 && isa == "avx512" && has_avx512()) return avx512_peak();
  if (!bfloat16 && isa == "avx2" && has_avx2()) return avx2_peak();
#endif
  if (!bfloat16 && isa == "scalar") return scalar_peak();
  throw std::invalid_argument("multiply-adds of '" + isa + (bfloat16 ? "' in bfloat16" : "'") +
                              " cannot be measured here; allowed is what this processor has");
}

}  // namespace

double fma_peak(const std::string& isa, double seconds, bool bfloat16) {
  return time_peak(loop_of(isa, bfloat16), seconds) * (bfloat16 ? 2 : 1);
}

}  // namespace tcnn_codec
