// Networks in integers, whatever a file may hold: every instruction set shows what plain C++ does,
// and networks beyond the format's bounds are refused.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "siren/integer/contract.h"
#include "target.h"

using namespace tcnn_codec;

namespace {

// Multiply-adds of one input, so that thousands run in a second.
constexpr int64_t kMostWork = 40000;
constexpr int64_t kMostPixels = 600;
constexpr int32_t kMostStep = 175;

// As docs/format.md has it, section 6.1.
int32_t multiplier(int32_t step) { return step < 16 ? step : (8 + step % 8) << (step / 8 - 1); }

SirenShape take_shape(FuzzedDataProvider& bytes) {
  SirenShape shape{};
  shape.axes = bytes.ConsumeIntegralInRange(2, 3);
  shape.out_channels = bytes.PickValueInArray({1, 3, 4});
  shape.features = 1 + 2 * bytes.ConsumeIntegralInRange(0, kMostFeatures / 2);
  if (shape.axes == 3) shape.time_features = bytes.ConsumeIntegralInRange(0, kMostFeatures);
  shape.width = bytes.ConsumeIntegralInRange(1, kMostWidth);
  shape.hidden_layers = bytes.ConsumeIntegralInRange(0, kMostHiddenLayers);
  while (shape.hidden_layers > 0 && shape.parameter_count() > kMostWork / 2) --shape.hidden_layers;
  return shape;
}

// The pixels that the work allows, over the axes.
IntegerGrid take_sizes(FuzzedDataProvider& bytes, const SirenShape& shape) {
  IntegerGrid grid{{nullptr, nullptr, nullptr}, {1, 1, 1}};
  int64_t left = std::clamp<int64_t>(kMostWork / shape.parameter_count(), 1, kMostPixels);
  for (int a = 0; a < shape.axes; ++a) {
    grid.size[a] = bytes.ConsumeIntegralInRange<int64_t>(1, left);
    left /= grid.size[a];
  }
  return grid;
}

// One magnitude bounds all values, so that networks that are not refused are frequent; each byte is
// a fraction of it, and values repeat when the bytes end.
std::vector<int32_t> take_values(FuzzedDataProvider& bytes, int count) {
  const int32_t most = bytes.PickValueInArray({1, 31, 500, kMostLevel, kMostLevel, 2049});
  std::vector<int8_t> parts = bytes.ConsumeRemainingBytes<int8_t>();
  if (parts.empty()) parts = {127};
  std::vector<int32_t> values;
  for (size_t i = 0; i < size_t(count); ++i)
    values.push_back(int32_t(parts[i % parts.size()]) * most / 127);
  return values;
}

// Of one instruction set; the last there is is plain C++.
using Sirens = std::vector<std::unique_ptr<IntegerSiren>>;

Sirens all_sirens() {
  Sirens sirens;
  for (const std::string& isa : integer_isas())
    sirens.push_back(std::make_unique<IntegerSiren>(isa, 1));
  return sirens;
}

// Nothing where the network is refused.
std::vector<uint8_t> render(IntegerSiren& siren, const IntegerNetwork& network,
                            const IntegerGrid& grid) {
  std::vector<uint8_t> out(size_t(grid.pixels() * network.shape.out_channels), 0xA5);
  try {
    siren.render(network, grid, out.data());
  } catch (const std::invalid_argument&) {
    out.clear();
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Sirens sirens = all_sirens();
  const Stopwatch stopwatch;
  FuzzedDataProvider bytes(data, size);
  IntegerSiren& siren = *sirens[bytes.ConsumeIntegralInRange<size_t>(0, sirens.size() - 1)];
  const SirenShape shape = take_shape(bytes);
  IntegerGrid grid = take_sizes(bytes, shape);
  std::vector<int32_t> multipliers;
  for (int i = 0; i < 2 * shape.layers(); ++i)
    multipliers.push_back(multiplier(bytes.ConsumeIntegralInRange(1, kMostStep + 1)));
  std::vector<int16_t> axes[3];
  for (int a = 0; a < shape.axes; ++a) {
    // Any encoding is allowed within the bound, and a linear congruence gives one of any length.
    uint32_t state = bytes.ConsumeIntegral<uint32_t>();
    for (int64_t i = 0; i < grid.size[a] * shape.features_of(a); ++i) {
      state = state * 1664525u + 1013904223u;
      axes[a].push_back(int16_t(int32_t(state >> 16) % (2 * kMostFeature + 1) - kMostFeature));
    }
    grid.values[a] = axes[a].data();
  }
  // Exactly as large as they must be, so that AddressSanitizer sees what is read beyond.
  std::vector<int32_t> values = take_values(bytes, shape.parameter_count());
  values.shrink_to_fit();
  const IntegerNetwork network{shape, values.data(), multipliers.data()};
  require(render(siren, network, grid) == render(*sirens.back(), network, grid),
          "every instruction set shows the same samples, and refuses the same networks");
  return 0;
}
