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

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

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

IntegerPacking::IntegerPacking(const IntegerNetwork& network, const IntegerKernels& kernels)
    : network_(network), takes_pairs_(kernels.takes_pairs) {
  const SirenShape& shape = network.shape;
  net.shape = shape;
  net.rows = round_up(shape.width, kernels.row_multiple);
  for (int a = 0; a < shape.axes; ++a)
    layers_.push_back(sine_layer(0, shape.first_input(a), shape.features_of(a)));
  for (int layer = 1; layer <= shape.hidden_layers; ++layer)
    layers_.push_back(sine_layer(layer, 0, shape.width));
  net.input = layers_.data();
  net.hidden = layers_.data() + shape.axes;

  const int last = shape.layers() - 1;
  net.output = weights(last, 0, shape.width, shape.out_channels == 1 ? 1 : kOutputRows, 1);
  net.multiplier = network.multipliers[2 * last];
  for (int c = 0; c < shape.out_channels; ++c)
    net.output_start[c] = int64_t(network.multipliers[2 * last + 1]) *
                              network.values[shape.bias(last) + c] * (1 << 14) +
                          (int64_t(1) << 33);
}

// Columns of a layer's matrix, times factor.
PackedLayer IntegerPacking::weights(int layer, int first_column, int columns, int rows,
                                    uint32_t factor) {
  const SirenShape& shape = network_.shape;
  const int padded = round_up(columns, kColumns);
  std::vector<Pair> pairs(takes_pairs_ ? size_t((columns + 1) / 2 * rows) : 0, Pair{0});
  std::vector<int16_t> matrix(takes_pairs_ ? 0 : size_t(rows * padded), 0);
  const int32_t* value = network_.values + shape.weight(layer) + first_column;
  for (int r = 0; r < shape.rows(layer); ++r, value += shape.columns(layer))
    for (int c = 0; c < columns; ++c) {
      const uint16_t scaled = uint16_t(uint32_t(value[c]) * factor);
      if (takes_pairs_)
        pairs[size_t(c / 2 * rows + r)].bits |= uint32_t(scaled) << (c % 2 * 16);
      else
        matrix[size_t(r * padded + c)] = int16_t(scaled);
    }
  pairs_.push_back(std::move(pairs));
  matrices_.push_back(std::move(matrix));
  return {pairs_.back().data(), matrices_.back().data(), nullptr, 0, columns};
}

PackedLayer IntegerPacking::sine_layer(int layer, int first_column, int columns) {
  Factors by(network_.multipliers[2 * layer]);
  uint32_t factor = uint32_t(by.factor);
  if (layer > 0 && by.shift > kMostHiddenShift) {
    // Of the sums, modulo 2^16, that is all the same.
    factor <<= by.shift - kMostHiddenShift;
    by.shift = kMostHiddenShift;
  }
  PackedLayer packed = weights(layer, first_column, columns, net.rows, factor);
  packed.shift = by.shift;

  std::vector<uint32_t> start(size_t(net.rows), 0);
  for (int r = 0; r < network_.shape.width && first_column == 0; ++r) {
    const uint32_t phase = bias_phase(network_, layer, r) - kQuarterTurn;
    // What the shift drops is below the upper half of a phase, and carries nothing into it.
    start[size_t(r)] = layer == 0 ? phase : phase >> by.shift;
  }
  starts_.push_back(std::move(start));
  packed.start = starts_.back().data();
  return packed;
}

}  // namespace tcnn_codec
