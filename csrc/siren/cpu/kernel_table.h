// What one instruction set provides. Everything here is per tile or per table; who runs what
// on which thread is the engine's business.
#pragma once

#include <cstdint>

#include "simd/pair.h"
#include "siren/contract.h"

namespace tcnn_codec {

// Pixels of one tile: a multiple of every register block's height. The unit may have its own.
#ifndef TCNN_CODEC_TILE
#define TCNN_CODEC_TILE 48
#endif
constexpr int kTile = TCNN_CODEC_TILE;
// The output layer is padded to four channels, one 128-bit vector.
constexpr int kOut = 4;

// The network, repacked for one step. Rows are padded with zeros to `stride` floats. What leads to
// a sine is scaled by w0 / pi, so that phases come out in half-turns.
struct PackedNet {
  SirenShape shape;
  int stride;                    // padded width
  const float* forward;          // per hidden layer [in, stride]: W^T w0 / pi
  const float* backward;         // per hidden layer [out, stride]: W w0
  const float* bias;             // per hidden layer [stride]: b w0 / pi, less whole turns
  const float* output_forward;   // [in, kOut]: V^T
  const float* output_backward;  // [kOut, stride]: V
  const float* output_bias;      // [kOut]
  // The same four in bfloat16, rows 2k and 2k + 1 paired in row k, and zeros up to a multiple of
  // Bfloat16Kernels::depth rows; null in float32. output_forward_pairs has out_words a row.
  const Pair *forward_pairs, *backward_pairs, *output_forward_pairs, *output_backward_pairs;
  const float* table[3];  // per axis [size, stride]: that axis' part of the input layer's phase
  int64_t axis_size[3];
};

// Gradient sums of one slice of a batch, in the layouts of PackedNet; one allocation.
struct GradientSums {
  float* hidden;         // per hidden layer [out, stride]
  float* bias;           // per hidden layer [stride]
  float* output;         // [kOut, stride]
  float* output_bias;    // [kOut]
  float* table[3];       // per axis [size, stride]: sums of delta along the other axes
  double squared_error;  // summed over pixels and channels
};

struct KernelTable {
  const char* isa;
  int lanes;

  // Rows [first, last) of one axis table: encoding [size, features] times weight
  // [features, stride], plus bias (or null).
  void (*build_table)(const float* encoding, int64_t first, int64_t last, int features,
                      const float* weight, const float* bias, int stride, float* table);

  // Sums over rows of encoding^T [features, size] times table [size, stride].
  void (*contract_table)(const float* encoding, int64_t size, int features, const float* table,
                         int stride, float* out);

  // Forward, loss and backward over batch entries [first, last); adds to sums.
  // scratch holds train_scratch floats.
  void (*train)(const PackedNet& net, const Target& target, const Batch& batch, int64_t first,
                int64_t last, float* scratch, GradientSums& sums);
  int64_t (*train_scratch)(const PackedNet& net);

  // Forward over pixels [first, last); exactly one of f32 and u8 is set, [pixels, out_channels].
  void (*evaluate)(const PackedNet& net, int64_t first, int64_t last, float* scratch, float* f32,
                   uint8_t* u8);
  int64_t (*evaluate_scratch)(const PackedNet& net);

  // destination[i] = sum over slices, in order, of sources[slice][i].
  void (*sum_slices)(float* destination, const float* const* sources, int slices, int64_t first,
                     int64_t last);

  // One step of Adam on parameters [first, last); the learning rate is in units of scales[i], or
  // of 1 where that is null.
  void (*adam)(const Optimiser& state, const float* gradient, float learning_rate,
               const float* scales, int64_t first, int64_t last);

  // One step of Muon on the weight matrix [rows, columns] that begins at parameter `first`.
  // scratch holds muon_scratch floats.
  void (*muon)(const Optimiser& state, const float* gradient, float learning_rate, int64_t first,
               int rows, int columns, float* scratch);
  int64_t (*muon_scratch)(int rows, int columns);
};

// Training with products in bfloat16, summed in float32; all else is that of a KernelTable.
struct Bfloat16Kernels {
  void (*train)(const PackedNet& net, const Target& target, const Batch& batch, int64_t first,
                int64_t last, float* scratch, GradientSums& sums);
  int64_t (*train_scratch)(const PackedNet& net);
  int tile;       // pixels of one tile
  int lanes;      // the stride is a multiple of
  int depth;      // rows of weights, with zeros, are a multiple of
  int out_words;  // a row of output_forward_pairs
};

const KernelTable& scalar_kernels();
#ifdef TCNN_CODEC_X86
const KernelTable& avx2_kernels();
const KernelTable& avx512_kernels();
#endif
#ifdef TCNN_CODEC_BFLOAT16
const Bfloat16Kernels& avx512_bfloat16_kernels();
#endif
#ifdef TCNN_CODEC_AMX
const Bfloat16Kernels& amx_kernels();
#endif
const Bfloat16Kernels& amx_emulated_kernels();

}  // namespace tcnn_codec
