// What one instruction set provides to evaluate in integers, and the network as it takes it.
#pragma once

#include <cstdint>

#include "simd/pair.h"
#include "simd/peak.h"
#include "siren/integer/contract.h"

namespace tcnn_codec {

// Pixels of one tile: a multiple of every vector's lanes.
constexpr int kIntegerTile = 48;
// The output layer is padded to four rows, but not that of one.
constexpr int kOutputRows = 4;
// Of a matrix of int16.
constexpr int kColumns = 8;

// What leads to sines. A multiplier m * 2^s, m <= 15, is split: m goes into the weights, which
// still fit 16 bits, and sums are shifted by s.
struct PackedLayer {
  // One of both, as the kernels take it: [columns / 2][rows], two columns of a row in a word; or
  // [rows][columns], columns padded with zeros to a multiple of kColumns.
  const Pair* pairs;
  const int16_t* matrix;
  const uint32_t* start;  // [rows]: of the sums
  int shift;
  int columns;
};

// The network, repacked. Its rows are neurons, and rows of zeros up to
// IntegerKernels::row_multiple.
struct PackedIntegers {
  SirenShape shape;
  int rows;
  const PackedLayer* input;   // [axes]: of each axis' features; the bias is the x axis'
  const PackedLayer* hidden;  // [hidden_layers], shifts at most 16
  PackedLayer output;         // of 1 row or kOutputRows; weights only, without the multiplier
  int32_t multiplier;         // of the output layer
  int64_t output_start[kOutputRows];  // with the half of the range that is added
  // Of each axis rows * table_stride words, in the kernels' order: its part of the input layer's
  // phases.
  const uint32_t* table[3];
  int64_t table_stride[3];
  int64_t size[3];
};

struct IntegerKernels {
  const char* isa;
  bool takes_pairs;
  int row_multiple;

  // Entries [first, last) of one axis' table; first is a multiple of kIntegerTile, and so is
  // table_stride, up to which entries may be written.
  void (*build_table)(const PackedLayer& layer, int rows, const int16_t* encoding, int features,
                      int64_t first, int64_t last, uint32_t* table, int64_t table_stride);

  // Samples of pixels [first, last); out is the whole grid's.
  void (*render)(const PackedIntegers& net, int64_t first, int64_t last, uint8_t* out);

  // What the products are measured against; its lanes are of 16 bits. No loop where the compiler
  // makes the products.
  PeakLoop peak;
};

const IntegerKernels& scalar_integers();
#ifdef TCNN_CODEC_NEON
const IntegerKernels& neon_integers();
#endif
#ifdef TCNN_CODEC_X86
const IntegerKernels& sse41_integers();
const IntegerKernels& avx2_integers();
const IntegerKernels& avx512_integers();
const IntegerKernels& avx512_vnni_integers();
#endif

}  // namespace tcnn_codec
