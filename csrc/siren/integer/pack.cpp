#include "siren/integer/pack.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace tcnn_codec {
namespace {

// Of the sine's argument, which the kernels take less a quarter turn.
constexpr uint32_t kQuarterTurn = uint32_t(1) << 30;
// Beyond it, an upper half has no bits of the sum that 16 bits of weights do not give.
constexpr int kMostHiddenShift = 16;

// multiplier = factor * 2^shift with an odd factor.
struct Factors {
  int32_t factor;
  int shift = 0;
  explicit Factors(int32_t multiplier) : factor(multiplier) {
    for (; factor % 2 == 0; factor /= 2) ++shift;
  }
};

[[noreturn]] void refuse(const std::string& value, const std::string& allowed) {
  throw std::invalid_argument(value + "; " + allowed);
}

uint32_t bias_phase(const IntegerNetwork& network, int layer, int row) {
  const int32_t bias = network.values[network.shape.bias(layer) + row];
  return uint32_t(network.multipliers[2 * layer + 1]) * uint32_t(bias) << 14;
}

// weights [columns / 2, rounded up][rows] of a matrix' columns, from `first_column` on.
template <class F>
std::vector<Pair> pair_columns(const IntegerNetwork& network, int layer, int first_column,
                               int columns, int rows, const F& scaled) {
  const SirenShape& shape = network.shape;
  std::vector<Pair> pairs(size_t((columns + 1) / 2 * rows), Pair{0});
  for (int r = 0; r < shape.rows(layer); ++r)
    for (int c = 0; c < columns; ++c) {
      const int32_t value =
          network.values[shape.weight(layer) + r * shape.columns(layer) + first_column + c];
      pairs[size_t(c / 2 * rows + r)].bits |= uint32_t(uint16_t(scaled(value))) << (c % 2 * 16);
    }
  return pairs;
}

}  // namespace

void check_integers(const IntegerNetwork& network) {
  const SirenShape& shape = network.shape;
  for (int i = 0; i < shape.parameter_count(); ++i)
    if (std::abs(int64_t(network.values[i])) > kMostLevel)
      refuse("values has " + std::to_string(network.values[i]),
             "allowed are -" + std::to_string(kMostLevel) + " to " + std::to_string(kMostLevel));
  for (int i = 0; i < 2 * shape.layers(); ++i) {
    const int32_t multiplier = network.multipliers[i];
    if (multiplier < 1 || multiplier > kMostMultiplier || Factors(multiplier).factor > 15)
      refuse("multipliers has " + std::to_string(multiplier),
             "allowed are 1 to 15 times a power of two, up to " + std::to_string(kMostMultiplier));
  }
  const int last = shape.layers() - 1;
  for (int c = 0; c < shape.out_channels; ++c) {
    int64_t sum = 0;
    for (int k = 0; k < shape.width; ++k)
      sum += std::abs(network.values[shape.weight(last) + c * shape.width + k]);
    const int64_t most =
        network.multipliers[2 * last] * sum +
        network.multipliers[2 * last + 1] * std::abs(int64_t(network.values[shape.bias(last) + c]));
    if (sum >= int64_t(1) << 17 || most >= int64_t(1) << 38)
      refuse("output row " + std::to_string(c) + " sums to " + std::to_string(sum) + " and " +
                 std::to_string(most),
             "allowed is below 2^17 and, with multipliers and bias, below 2^38");
  }
}

IntegerPacking::IntegerPacking(const IntegerNetwork& network) {
  const SirenShape& shape = network.shape;
  net.shape = shape;
  net.rows = shape.width + shape.width % 2;
  for (int a = 0; a < shape.axes; ++a)
    layers_.push_back(sine_layer(network, 0, a * shape.features, shape.features));
  for (int layer = 1; layer <= shape.hidden_layers; ++layer)
    layers_.push_back(sine_layer(network, layer, 0, shape.width));
  net.input = layers_.data();
  net.hidden = layers_.data() + shape.axes;

  const int last = shape.layers() - 1;
  weights_.push_back(pair_columns(network, last, 0, shape.width, shape.out_channels,
                                  [](int32_t value) { return value; }));
  net.output = {weights_.back().data(), nullptr, 0, (shape.width + 1) / 2};
  net.multiplier = network.multipliers[2 * last];
  for (int c = 0; c < shape.out_channels; ++c)
    net.output_start[c] = int64_t(network.multipliers[2 * last + 1]) *
                              network.values[shape.bias(last) + c] * (1 << 14) +
                          (int64_t(1) << 33);
}

PackedLayer IntegerPacking::sine_layer(const IntegerNetwork& network, int layer, int first_column,
                                       int columns) {
  Factors by(network.multipliers[2 * layer]);
  uint32_t factor = uint32_t(by.factor);
  if (layer > 0 && by.shift > kMostHiddenShift) {
    // Of the sums, modulo 2^16, that is all the same.
    factor <<= by.shift - kMostHiddenShift;
    by.shift = kMostHiddenShift;
  }
  const auto scaled = [=](int32_t value) { return uint32_t(value) * factor; };
  weights_.push_back(pair_columns(network, layer, first_column, columns, net.rows, scaled));

  std::vector<uint32_t> start(size_t(net.rows), 0);
  for (int r = 0; r < network.shape.width && first_column == 0; ++r) {
    const uint32_t phase = bias_phase(network, layer, r) - kQuarterTurn;
    // What the shift drops is below the upper half of a phase, and carries nothing into it.
    start[size_t(r)] = layer == 0 ? phase : phase >> by.shift;
  }
  starts_.push_back(std::move(start));
  return {weights_.back().data(), starts_.back().data(), by.shift, (columns + 1) / 2};
}

}  // namespace tcnn_codec
