#include "coders/binary_coder.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace tcnn_codec {
namespace {

// Probabilities are those of a bin being 1, in units of 2^-16.
constexpr uint32_t kHalf = 1 << 15;
constexpr uint32_t kOne = 1 << 16;

// Magnitudes below kUnary are unary; from there on Exp-Golomb of order 0, the prefix less than
// kPrefixes long. Contexts: unary by the bins so far, prefix by the bins so far, first bit of the
// suffix by its length.
constexpr size_t kUnary = 8;
constexpr size_t kPrefixes = 11;
constexpr size_t kContexts = kUnary + 2 * kPrefixes - 1;

// Set i of contexts is for the mean magnitude (2^i - 1) / 8. It begins as if magnitudes came from
// the distribution q^|v| of that mean; these are the q.
constexpr std::array<uint32_t, 16> kRatios = {1024,  4080,  11884, 24624, 39322, 50771,
                                              57740, 61538, 63512, 64518, 65026, 65280,
                                              65408, 65472, 65504, 65520};

struct Context {
  uint32_t probability = kHalf;
  uint32_t weight = 16;  // bins that the probability is worth

  void learn(bool bin) {
    if (bin)
      probability += (kOne - probability) / weight;
    else
      probability -= probability / weight;
    weight = std::min(weight + 1, uint32_t(255));
  }
};

using Contexts = std::array<Context, kContexts>;

std::vector<Contexts> initial_contexts() {
  std::vector<Contexts> sets(kRatios.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    Contexts& set = sets[i];
    uint64_t power = kRatios[i];  // q^(2^k)
    set[0].probability = uint32_t((power << 17) / (kOne + power));
    for (size_t k = 1; k < kUnary; ++k) set[k] = {kRatios[i], 32};
    for (size_t k = 0; k < kPrefixes; ++k) {
      set[kUnary + k].probability = uint32_t(power);
      if (k + 1 < kPrefixes)
        set[kUnary + kPrefixes + k].probability = uint32_t((power << 16) / (kOne + power));
      power = std::max(power * power >> 16, uint64_t(64));
    }
  }
  return sets;
}

// How large the next magnitude should be, from those before it in its column, its row and all.
class Estimator {
 public:
  explicit Estimator(int64_t columns) : columns_(size_t(columns)) {}

  // 256 * the expected magnitude + 32, less than 2^20.
  int64_t estimate(int64_t row, int64_t column) const {
    const int64_t place = row * int64_t(columns_.size()) + column;
    const int64_t mean = std::max(((all_ + 8) << 8) / (place + 1), int64_t(1));
    const int64_t above = ((columns_[size_t(column)] << 8) + mean) / (row + 1);
    const int64_t left = ((row_ << 8) + 8 * mean) / (column + 8);
    return std::min(above * left / mean, int64_t(1) << 19) + 32;
  }
  void add(int64_t column, int32_t magnitude) {
    columns_[size_t(column)] += magnitude;
    row_ += magnitude;
    all_ += magnitude;
  }
  void end_row() { row_ = 0; }

 private:
  std::vector<int64_t> columns_;
  int64_t row_ = 0;
  int64_t all_ = 0;
};

[[noreturn]] void refuse() {
  throw std::invalid_argument("the code has a magnitude above " +
                              std::to_string(kLargestMagnitude));
}

// Works both ways, as does all below: takes the magnitude from the encoder, anything from the
// decoder, and returns the one coded.
template <class Coder>
int32_t code_magnitude(Coder& coder, std::vector<Contexts>& sets, int64_t estimate,
                       int32_t magnitude) {
  size_t octave = 5;
  while (estimate >> (octave + 1)) ++octave;
  Contexts& lower = sets[octave - 5];
  Contexts& upper = sets[octave - 4];
  const auto share = uint32_t((estimate << 8 >> octave) & 255);  // of upper
  const auto code = [&](size_t k, bool bin) {
    bin =
        coder.code((lower[k].probability * (256 - share) + upper[k].probability * share) >> 8, bin);
    lower[k].learn(bin);
    upper[k].learn(bin);
    return bin;
  };
  for (size_t k = 0; k < kUnary; ++k)
    if (!code(k, magnitude > int32_t(k))) return int32_t(k);
  const size_t rest = size_t(magnitude) - kUnary + 1;
  size_t length = 0;
  while (code(kUnary + length, rest >> (length + 1) != 0))
    if (++length == kPrefixes) refuse();
  int32_t found = 1;
  for (size_t bit = length; bit-- > 0;) {
    const bool bin = rest >> bit & 1;
    const bool top = bit + 1 == length;
    found = 2 * found + (top ? code(kUnary + kPrefixes + bit, bin) : coder.code(kHalf, bin));
  }
  found += int32_t(kUnary) - 1;
  if (found > kLargestMagnitude) refuse();
  return found;
}

// Value is const where the coder is the encoder.
template <class Coder, class Value>
void code_matrix(Coder& coder, int64_t rows, int64_t columns, bool has_signs, Value* values) {
  std::vector<Contexts> sets = initial_contexts();
  Context turn;  // the sign is not that of the value above
  Estimator estimator(columns);
  for (int64_t row = 0; row < rows; ++row, estimator.end_row()) {
    for (int64_t column = 0; column < columns; ++column) {
      Value& value = values[row * columns + column];
      const int32_t above = row > 0 ? (&value)[-columns] : 0;
      const int64_t estimate = estimator.estimate(row, column);
      const int32_t magnitude = code_magnitude(coder, sets, estimate, value < 0 ? -value : value);
      bool negative = value < 0;
      if (has_signs && magnitude > 0 && above != 0) {
        const bool turned = coder.code(turn.probability, negative != (above < 0));
        turn.learn(turned);
        negative = turned != (above < 0);
      } else if (has_signs && magnitude > 0) {
        negative = coder.code(kHalf, negative);
      }
      if constexpr (!std::is_const_v<Value>) value = negative ? -magnitude : magnitude;
      estimator.add(column, magnitude);
    }
  }
}

}  // namespace

void Encoder::add(const int32_t* values, int64_t rows, int64_t columns, bool has_signs) {
  code_matrix(*this, rows, columns, has_signs, values);
}

bool Encoder::code(uint32_t probability, bool bin) {
  const uint64_t part = (width_ * probability) >> 16;
  if (!bin) raise(part);
  width_ = bin ? part : width_ - part;
  for (; width_ < 1 << 24; width_ <<= 8) shift();
  return bin;
}

std::string Encoder::finish() {
  uint64_t unit = uint64_t(1) << 32;
  while ((low_ + unit - 1) / unit * unit >= low_ + width_) unit >>= 8;
  raise((low_ + unit - 1) / unit * unit - low_);
  while (low_ > 0) shift();
  bytes_.erase(bytes_.find_last_not_of('\0') + 1);
  std::string code = std::move(bytes_);
  *this = Encoder();
  return code;
}

void Encoder::raise(uint64_t amount) {
  low_ += amount;
  if (low_ >> 32 == 0) return;
  low_ &= 0xFFFFFFFF;
  for (size_t at = bytes_.size(); ++bytes_[--at] == 0;) continue;
}

void Encoder::shift() {
  bytes_.push_back(char(low_ >> 24));
  low_ = (low_ << 8) & 0xFFFFFFFF;
}

Decoder::Decoder(const uint8_t* code, size_t size) : code_(code), size_(size) {
  for (int i = 0; i < 4; ++i) shift();
}

void Decoder::take(int32_t* values, int64_t rows, int64_t columns, bool has_signs) {
  std::fill(values, values + rows * columns, 0);
  code_matrix(*this, rows, columns, has_signs, values);
}

bool Decoder::code(uint32_t probability, bool) {
  const uint64_t part = (width_ * probability) >> 16;
  const bool bin = offset_ < part;
  if (!bin) offset_ -= part;
  width_ = bin ? part : width_ - part;
  for (; width_ < 1 << 24; width_ <<= 8) shift();
  return bin;
}

void Decoder::shift() {
  offset_ = offset_ << 8 | (taken_ < size_ ? code_[taken_] : 0);
  ++taken_;
}

}  // namespace tcnn_codec
