// The loop of peak.h over the unit's Vec.

#include "simd/peak.h"

namespace {

float fma_rounds(int64_t rounds) {
  constexpr int n = 24 <= Vec::accumulators ? 24 : 12;
  Vec sum[n];
  for (int i = 0; i < n; ++i) sum[i] = Vec::set(float(i));
  const Vec factor = Vec::set(0.999f), term = Vec::set(1e-3f);
  for (int64_t round = 0; round < rounds * (24 / n); ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < n; ++i) sum[i] = multiply_add(sum[i], factor, term);
  }
  float lanes[Vec::lanes], total = 0;
  for (int i = 0; i < n; ++i) {
    sum[i].store(lanes);
    total += lanes[0];
  }
  return total;
}

}  // namespace
