// Weight gradients: products that sum over the pixels of a tile, which lie in shared memory.
#pragma once

#include "siren/cuda/network.cuh"

namespace tcnn_codec {
namespace cuda {

// Pairs of blocks that one warp's piece of a weight gradient has at most: [32, 80] values, or
// [32, 64] where the registers that those of wide networks leave are fewer.
DEVICE_HOST constexpr int piece_pairs(int padded) { return padded > 64 ? 4 : 5; }
constexpr uint32_t kOnes = 0x3c003c00;  // two ones in float16

// What a block keeps of the pixels of a tile, all rows of float16 per pixel: sines of all layers;
// cosines, which deltas replace; encoded coordinates; the output's error.
template <int kPadded>
struct Kept {
  static constexpr int stride = row_stride(kPadded);
  char* memory;
  int pixels, layers, encoded_stride;

  DEVICE Kept(const Shape& shape, char* memory, int pixels)
      : memory(memory),
        pixels(pixels),
        layers(shape.hidden_layers + 1),
        encoded_stride(shape.encoded_stride()) {}
  DEVICE char* sines(int layer) const { return memory + 2 * layer * pixels * stride; }
  DEVICE char* deltas(int layer) const { return sines(layers + layer); }
  DEVICE char* encoded() const { return sines(2 * layers); }
  DEVICE char* errors() const { return encoded() + 2 * pixels * encoded_stride; }
};

// Sums over deltas alone, for the bias, stand in a block that pieces of hidden layers have no other
// use for; encoded coordinates have a column of ones.
constexpr int kBiasBlock = 8, kPieceBlocks = 10;

template <int kPadded>
struct PieceSums {
  static constexpr int kPairs = piece_pairs(kPadded);
  static constexpr int kBlocks = kPadded > 64 ? kBiasBlock + 1 : kPieceBlocks;
  static_assert(2 * kPairs <= kBlocks && kBiasBlock < kBlocks && kBlocks <= kPieceBlocks, "room");
  float values[2][kBlocks][4];
};

// A piece of a weight gradient, the sum over pixels of delta[row] input[column], that one warp
// makes: rows first_row to + 31 of a layer, pairs of blocks of columns first_pair to + pairs - 1.
struct Piece {
  int layer, first_row, first_pair, pairs;

  // Whether there are values in a block of columns, of the first or second kRows rows.
  DEVICE bool has(int block, int down, int padded) const {
    const bool bias = block == kBiasBlock && layer && first_pair == 0;
    return (block < 2 * pairs || bias) && (down == 0 || first_row + kRows < padded);
  }
  // Pieces of the input layer and of a hidden one.
  DEVICE_HOST static int down(const Shape& shape) { return (shape.padded + 31) / 32; }
  DEVICE_HOST static int across(const Shape& shape, int columns) {
    const int most = piece_pairs(shape.padded);
    return (columns / kColumns + most - 1) / most;
  }
  DEVICE_HOST static int count(const Shape& shape) {
    return down(shape) *
           (across(shape, shape.encoded()) + shape.hidden_layers * across(shape, shape.padded));
  }
  DEVICE static Piece at(const Shape& shape, int index) {
    int of_layer = down(shape) * across(shape, shape.encoded()), layer = 0,
        columns = shape.encoded();
    if (index >= of_layer) {
      index -= of_layer;
      columns = shape.padded;
      of_layer = down(shape) * across(shape, columns);
      layer = 1 + index / of_layer;
      index %= of_layer;
    }
    const int pieces = across(shape, columns), all = columns / kColumns;
    // Pieces of one row of them are as equal as may be.
    const int first = index % pieces * all / pieces, last = (index % pieces + 1) * all / pieces;
    return {layer, 32 * (index / pieces), first, last - first};
  }
};

// The same as load_matrices_transposed, from rows in device memory.
template <bool kShared>
DEVICE void load_transposed(uint32_t (&d)[4], const char* row) {
  if (kShared) {
    load_matrices_transposed(d, row);
    return;
  }
  const Lane self = this_lane();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    uint32_t halves[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      // Row 2 member + j of matrix i, whose address another lane has.
      const int source = 8 * i + 2 * self.member + j;
      const uint64_t address = shuffle(uint64_t(row), source);
      halves[j] = reinterpret_cast<const uint16_t*>(address)[self.group];
    }
    d[i] = halves[0] | halves[1] << 16;
  }
}

// Adds pixels [first, last) of the tile, multiples of kRows, to a piece of so many pairs; `bias`:
// and their deltas alone.
template <int kPadded, bool kShared>
DEVICE void add_pixels(const Kept<kPadded>& kept, const Piece& piece, int pairs, bool bias,
                       const char* inputs, int input_stride, int first, int last,
                       PieceSums<kPadded>& sums) {
  const int lane = this_lane().lane;
  const bool second = kPadded % 32 == 0 || piece.first_row + kRows < kPadded;
  // Of the left operand, matrices are [pixels 0-7, 8-15] x [rows 0-7, 8-15], rows first; of the
  // right one pixels first.
  const char* delta = kept.deltas(piece.layer) + 2 * ((lane / 16 * 8 + lane % 8) * kept.stride +
                                                      piece.first_row + lane / 8 % 2 * 8);
  const char* input =
      inputs + 2 * ((lane % 16) * input_stride + piece.first_pair * kColumns + lane / 16 * 8);
#pragma unroll 1
  for (int pixel = first; pixel < last; pixel += kRows) {
    uint32_t a[2][4];
    load_transposed<kShared>(a[0], delta + 2 * pixel * kept.stride);
    if (second) load_transposed<kShared>(a[1], delta + 2 * (pixel * kept.stride + kRows));
    if (bias) {
      mma_16816(sums.values[0][kBiasBlock], a[0], kOnes, kOnes);
      if (second) mma_16816(sums.values[1][kBiasBlock], a[1], kOnes, kOnes);
    }
#pragma unroll
    for (int pair = 0; pair < PieceSums<kPadded>::kPairs; ++pair) {
      if (pair >= pairs) break;
      uint32_t b[4];
      load_transposed<kShared>(b, input + 2 * (pixel * input_stride + pair * kColumns));
      mma_16816(sums.values[0][2 * pair], a[0], b[0], b[1]);
      mma_16816(sums.values[0][2 * pair + 1], a[0], b[2], b[3]);
      if (second) {
        mma_16816(sums.values[1][2 * pair], a[1], b[0], b[1]);
        mma_16816(sums.values[1][2 * pair + 1], a[1], b[2], b[3]);
      }
    }
  }
}

// Hidden layers are alike, so that the compiler may know how many pairs their pieces have, as it
// may of the input layer's where they have as many as there can be. From device memory it had
// better not: it would load for all of them at once, and spill.
template <int kPadded, bool kShared>
DEVICE void add_piece(const Kept<kPadded>& kept, const Piece& piece, int first, int last,
                      PieceSums<kPadded>& sums) {
  constexpr int kPairs = kPadded / kColumns, kMost = PieceSums<kPadded>::kPairs;
  const bool hidden = piece.layer > 0;
  const char* inputs = hidden ? kept.sines(piece.layer - 1) : kept.encoded();
  const int stride = hidden ? kept.stride : kept.encoded_stride;
  if (kShared && hidden)
    add_pixels<kPadded, kShared>(kept, piece, kPairs > kMost ? kPairs / 2 : kPairs, true, inputs,
                                 kept.stride, first, last, sums);
  else if (kShared && piece.pairs == kMost)
    add_pixels<kPadded, kShared>(kept, piece, kMost, false, inputs, stride, first, last, sums);
  else
    add_pixels<kPadded, kShared>(kept, piece, piece.pairs, hidden, inputs, stride, first, last,
                                 sums);
}

// A block's partial gradient is what its warps have in registers, as it is: vectors of one float4
// per lane, kPieceVectors for each piece, then those of the output layer, then the squared error.
constexpr int kPieceVectors = 2 * kPieceBlocks;

// What a value of a partial gradient is of; parameter -1: padding.
struct Slot {
  int parameter = -1, layer = 0;
  bool bias = false;
};

struct Partial {
  DEVICE_HOST static int output(const Shape& shape) { return Piece::count(shape) * kPieceVectors; }
  DEVICE_HOST static int error(const Shape& shape) {
    return output(shape) + shape.padded / kRows + 1;
  }
  DEVICE_HOST static int vectors(const Shape& shape) { return error(shape) + 1; }

  // Whether a vector of a piece has values, and what value i of a lane is of.
  DEVICE static bool used(const Shape& shape, int vector) {
    if (vector >= output(shape)) return true;
    const Piece piece = Piece::at(shape, vector / kPieceVectors);
    return piece.has(vector % kPieceVectors / 2, vector % 2, shape.padded);
  }
  DEVICE static Slot slot(const Shape& shape, int vector, int lane, int i) {
    const int down = 8 * (i / 2) + lane / 4, across = 2 * (lane % 4) + i % 2;
    const int last = shape.hidden_layers + 1;
    if (vector >= output(shape)) {
      const int input = (vector - output(shape)) * kRows + down;
      if (across >= shape.out_channels) return {};
      if (input < shape.width)
        return {shape.weight(last) + across * shape.width + input, last, false};
      if (input == shape.padded) return {shape.bias(last) + across, last, true};
      return {};
    }
    const Piece piece = Piece::at(shape, vector / kPieceVectors);
    const int block = vector % kPieceVectors / 2;
    const int row = piece.first_row + kRows * (vector % 2) + down;
    if (row >= shape.width) return {};
    const Slot bias{shape.bias(piece.layer) + row, piece.layer, true};
    if (piece.layer && block == kBiasBlock) return across == 0 ? bias : Slot{};
    int column = piece.first_pair * kColumns + 8 * block + across;
    if (piece.layer == 0) {
      const int axis = column / shape.axis_features(), feature = column % shape.axis_features();
      if (axis == 0 && feature == shape.features) return bias;
      if (axis >= shape.axes || feature >= shape.features_of(axis)) return {};
      column = shape.first_input(axis) + feature;
    }
    const int columns = shape.columns(piece.layer);
    if (column >= columns) return {};
    return {shape.weight(piece.layer) + row * columns + column, piece.layer, false};
  }
};

DEVICE void add(float4& sum, const float4& value) {
  sum = make_float4(sum.x + value.x, sum.y + value.y, sum.z + value.z, sum.w + value.w);
}

DEVICE void load(float (&sum)[4], const float4& place) {
  const float4 found = place;
  sum[0] = found.x, sum[1] = found.y, sum[2] = found.z, sum[3] = found.w;
}

DEVICE void store(float4& place, const float (&sum)[4]) {
  place = make_float4(sum[0], sum[1], sum[2], sum[3]);
}

// To and from the piece's vectors, which begin at `vectors` for the lane.
template <int kPadded>
DEVICE void load_piece(const Piece& piece, PieceSums<kPadded>& sums, const float4* vectors) {
#pragma unroll
  for (int block = 0; block < PieceSums<kPadded>::kBlocks; ++block)
#pragma unroll
    for (int down = 0; down < 2; ++down) {
      const bool has = piece.has(block, down, kPadded);
      const float4 zeros = make_float4(0, 0, 0, 0);
      load(sums.values[down][block], has ? vectors[(2 * block + down) * kWarp] : zeros);
    }
}

template <int kPadded>
DEVICE void store_piece(const Piece& piece, const PieceSums<kPadded>& sums, float4* vectors) {
#pragma unroll
  for (int block = 0; block < PieceSums<kPadded>::kBlocks; ++block)
#pragma unroll
    for (int down = 0; down < 2; ++down)
      if (piece.has(block, down, kPadded))
        store(vectors[(2 * block + down) * kWarp], sums.values[down][block]);
}

// 16 inputs times all channels of the output layer's gradient, or after the last of these its bias:
// pixels [first, last) of the tile, multiples of kRows.
template <int kPadded, bool kShared>
DEVICE void add_output(const Kept<kPadded>& kept, int hidden_layers, int block, int first, int last,
                       float (&sum)[4]) {
  const int lane = this_lane().lane;
  const char* error = kept.errors() + 2 * (lane % 16) * kOut;
  const char* sine = kept.sines(hidden_layers) + 2 * ((lane / 16 * 8 + lane % 8) * kept.stride +
                                                      block * kRows + lane / 8 % 2 * 8);
  for (int pixel = first; pixel < last; pixel += kRows) {
    uint32_t a[4] = {kOnes, kOnes, kOnes, kOnes}, b[4];
    if (block < kPadded / kRows) load_transposed<kShared>(a, sine + 2 * pixel * kept.stride);
    load_transposed<kShared>(b, error + 2 * pixel * kOut);
    mma_16816(sum, a, b[0], b[1]);
  }
}

}  // namespace cuda
}  // namespace tcnn_codec
