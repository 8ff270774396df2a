// The native contract of evaluation in integers: docs/format.md, section 8, is what it computes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "siren/contract.h"

namespace tcnn_codec {

// Values of weights and biases, at most, in magnitude.
constexpr int32_t kMostLevel = 2047;
// Multipliers, at most; those of weights are 1 to 15 times a power of two.
constexpr int32_t kMostMultiplier = 15 << 20;
constexpr int kMostFeatures = 129;
// Features of codes, at most, in magnitude: 31 of 2^-4 each.
constexpr int kMostFeature = 31 << 10;
constexpr int kMostHiddenLayers = 32;

// A network in integers. values [parameter_count] lie as SirenShape says, at most kMostLevel in
// magnitude; multipliers [layers][2] are those of each layer's weights and biases.
struct IntegerNetwork {
  SirenShape shape;  // without its w0
  const int32_t* values;
  const int32_t* multipliers;
};

// For each axis in the order x, y, t its encoding [size, features_of(axis)], at most kMostFeature
// in magnitude.
struct IntegerGrid {
  const int16_t* values[3];
  int64_t size[3];  // 1 for an axis the network does not have

  int64_t pixels() const { return size[0] * size[1] * size[2]; }
};

// Throws std::invalid_argument for a network beyond the bounds above or those of section 8.4.
void check_integers(const IntegerNetwork& network);

// Instruction sets this build and this machine both have, best first.
std::vector<std::string> integer_isas();

// Multiply-adds per second of one thread, in units of 1e9, from registers alone. Throws
// std::invalid_argument for 'scalar' and for what this machine lacks.
double integer_peak(const std::string& isa, double seconds);

// One instruction set, one set of threads, one workspace that is reused from call to call.
// Samples are the same for every instruction set and number of threads. Calls from several threads
// wait for each other.
class IntegerSiren {
 public:
  // isa: one of integer_isas(). Throws std::invalid_argument for what this machine lacks,
  // std::system_error where so many threads cannot be started.
  IntegerSiren(const std::string& isa, int threads);
  ~IntegerSiren();

  const std::string& isa() const;
  int threads() const;

  // Samples at every grid point, [pixels, out_channels]. Throws as check_integers.
  void render(const IntegerNetwork& network, const IntegerGrid& grid, uint8_t* out);

 private:
  struct Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace tcnn_codec
