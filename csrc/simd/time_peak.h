// Times the loops of peak.h. Not for units of one instruction set, whose inline functions the
// linker might take.
#pragma once

#include <chrono>

#include "simd/peak.h"

namespace tcnn_codec {

// 1e9 multiply-adds per second of a loop, one a lane.
inline double time_peak(const PeakLoop& loop, double seconds) {
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
  return double(done) * 24 * loop.lanes / elapsed * 1e-9;
}

}  // namespace tcnn_codec
