// What one instruction set provides to evaluate in integers, and the network as it takes it.
#pragma once

#include <cstdint>

#include "simd/pair.h"
#include "siren/integer/contract.h"

namespace tcnn_codec {

// Pixels of one tile: a multiple of every vector's lanes.
constexpr int kIntegerTile = 48;

// What leads to sines. A multiplier m * 2^s, m <= 15, is split: m goes into the weights, which
// still fit 16 bits, and sums are shifted by s.
struct PackedLayer {
  const Pair* weights;    // [columns / 2][rows], two columns of a row in a word
  const uint32_t* start;  // [rows]: of the sums
  int shift;
  int pairs;  // columns / 2, rounded up
};

// The network, repacked. Rows are `rows`: neurons, and one of zeros where their number is odd.
struct PackedIntegers {
  SirenShape shape;
  int rows;
  const PackedLayer* input;   // [axes]: of each axis' features; the bias is the x axis'
  const PackedLayer* hidden;  // [hidden_layers], shifts at most 16
  PackedLayer output;         // weights only, [pairs][out_channels], without the multiplier
  int32_t multiplier;         // of the output layer
  int64_t output_start[32];   // with the half of the range that is added
  // Of each axis [rows, table_stride]: its part of the input layer's phases.
  const uint32_t* table[3];
  int64_t table_stride[3];
  int64_t size[3];
};

struct IntegerKernels {
  const char* isa;

  // Entries [first, last) of one axis' table; first is a multiple of kIntegerTile, and so is
  // table_stride, up to which entries may be written.
  void (*build_table)(const PackedLayer& layer, int rows, const int16_t* encoding, int features,
                      int64_t first, int64_t last, uint32_t* table, int64_t table_stride);

  // Samples of pixels [first, last); out is the whole grid's.
  void (*render)(const PackedIntegers& net, int64_t first, int64_t last, uint8_t* out);
};

const IntegerKernels& scalar_integers();
#ifdef TCNN_CODEC_X86
const IntegerKernels& avx2_integers();
const IntegerKernels& avx512_integers();
const IntegerKernels& avx512_vnni_integers();
#endif

}  // namespace tcnn_codec
