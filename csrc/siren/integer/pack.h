// A network in integers, as kernels take it.
#pragma once

#include <vector>

#include "siren/integer/kernels.h"

namespace tcnn_codec {

// Holds what `net` points to, but the tables.
class IntegerPacking {
 public:
  explicit IntegerPacking(const IntegerNetwork& network);

  PackedIntegers net{};

 private:
  PackedLayer sine_layer(const IntegerNetwork& network, int layer, int first_column, int columns);

  std::vector<PackedLayer> layers_;
  std::vector<std::vector<Pair>> weights_;
  std::vector<std::vector<uint32_t>> starts_;
};

}  // namespace tcnn_codec
