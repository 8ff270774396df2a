#include "simd/peak.h"

#include <chrono>
#include <stdexcept>

#include "simd/processor.h"

namespace tcnn_codec {
namespace {

PeakLoop loop_of(const std::string& isa, bool bfloat16) {
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
  const PeakLoop loop = loop_of(isa, bfloat16);
  constexpr int64_t rounds = 100000;
  int64_t done = 0;
  volatile float sink = 0;
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  while (elapsed < seconds) {
    sink = loop.run(rounds);
    done += rounds;
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  (void)sink;
  return double(done) * 24 * loop.lanes * (bfloat16 ? 2 : 1) / elapsed * 1e-9;
}

}  // namespace tcnn_codec
