// A network in integers, as kernels take it.
#pragma once

#include <vector>

#include "siren/integer/kernels.h"

namespace tcnn_codec {

// Holds what `net` points to, but the tables.
class IntegerPacking {
 public:
  IntegerPacking(const IntegerNetwork& network, const IntegerKernels& kernels);

  PackedIntegers net{};

 private:
  PackedLayer sine_layer(int layer, int first_column, int columns);
  PackedLayer weights(int layer, int first_column, int columns, int rows, uint32_t factor);

  const IntegerNetwork& network_;
  const bool takes_pairs_;
  std::vector<PackedLayer> layers_;
  std::vector<std::vector<Pair>> pairs_;
  std::vector<std::vector<int16_t>> matrices_;
  std::vector<std::vector<uint32_t>> starts_;
};

}  // namespace tcnn_codec
