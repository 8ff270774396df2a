// Weight gradients: products that sum over the pixels of a tile, which lie in shared memory.
#pragma once

#include "network.cuh"

namespace tcnn_codec {
namespace cuda {

// Pairs of blocks that one warp's piece of a weight gradient has at most: [32, 80] values.
constexpr int kPiecePairs = 5;
constexpr uint32_t kOnes = 0x3c003c00;  // two ones in float16

// What a block keeps of the pixels of a tile, all rows of float16 per pixel: sines of all layers;
// cosines, which deltas replace; encoded coordinates; the output's error.
struct Kept {
  char* memory;
  int pixels, layers, stride, encoded_stride;

  DEVICE Kept(const Shape& shape, char* memory, int pixels)
      : memory(memory),
        pixels(pixels),
        layers(shape.hidden_layers + 1),
        stride(shape.stride()),
        encoded_stride(shape.encoded_stride()) {}
  DEVICE char* sines(int layer) const { return memory + 2 * layer * pixels * stride; }
  DEVICE char* deltas(int layer) const { return sines(layers + layer); }
  DEVICE char* encoded() const { return sines(2 * layers); }
  DEVICE char* errors() const { return encoded() + 2 * pixels * encoded_stride; }
};

// A piece of a weight gradient, the sum over pixels of delta[row] input[column], that one warp
// makes: rows first_row to + 31 of a layer, pairs of blocks of columns first_pair to + pairs - 1.
struct Piece {
  int layer, first_row, first_pair, pairs;

  // Pieces of the input layer and of a hidden one.
  DEVICE_HOST static int down(const Shape& shape) { return (shape.padded + 31) / 32; }
  DEVICE_HOST static int across(int columns) {
    return (columns / kColumns + kPiecePairs - 1) / kPiecePairs;
  }
  DEVICE_HOST static int count(const Shape& shape) {
    return down(shape) * (across(shape.encoded()) + shape.hidden_layers * across(shape.padded));
  }
  DEVICE static Piece at(const Shape& shape, int index) {
    int of_layer = down(shape) * across(shape.encoded()), layer = 0, columns = shape.encoded();
    if (index >= of_layer) {
      index -= of_layer;
      columns = shape.padded;
      of_layer = down(shape) * across(columns);
      layer = 1 + index / of_layer;
      index %= of_layer;
    }
    const int pieces = across(columns), all = columns / kColumns;
    // Pieces of one row of them are as equal as may be.
    const int first = index % pieces * all / pieces, last = (index % pieces + 1) * all / pieces;
    return {layer, 32 * (index / pieces), first, last - first};
  }
};

// Sums over deltas alone, for the bias, stand in a block that pieces of hidden layers have no other
// use for; encoded coordinates have a column of ones.
struct PieceSums {
  static constexpr int kBias = 2 * kPiecePairs - 2;
  float values[2][2 * kPiecePairs][4];
};
static_assert(kPiecePairs > 128 / kColumns / 2, "a block is free for the bias");

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

// Adds pixels [first, last) of the tile, multiples of kRows.
template <int kPadded, bool kShared>
DEVICE void add_piece(const Kept& kept, const Piece& piece, int first, int last, PieceSums& sums) {
  const int lane = this_lane().lane;
  const bool second = piece.first_row + kRows < kPadded;
  const int input_stride = piece.layer ? kept.stride : kept.encoded_stride;
  const char* inputs = piece.layer ? kept.sines(piece.layer - 1) : kept.encoded();
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
    if (piece.layer) mma_16816(sums.values[0][PieceSums::kBias], a[0], kOnes, kOnes);
    if (second) {
      load_transposed<kShared>(a[1], delta + 2 * (pixel * kept.stride + kRows));
      if (piece.layer) mma_16816(sums.values[1][PieceSums::kBias], a[1], kOnes, kOnes);
    }
#pragma unroll
    for (int pair = 0; pair < kPiecePairs; ++pair) {
      if (pair >= piece.pairs) break;
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

DEVICE void store_sum(float* place, float value, bool add) {
  *place = add ? *place + value : value;
}

// To the flat gradient, without its padding.
template <int kPadded>
DEVICE void store_piece(const Shape& shape, const Piece& piece, const PieceSums& sums, bool add,
                        float* gradient) {
  const Lane self = this_lane();
  float* weight = gradient + shape.weight(piece.layer);
  float* bias = gradient + shape.bias(piece.layer);
  const int columns = shape.columns(piece.layer), axis_features = shape.axis_features();
#pragma unroll
  for (int down = 0; down < 2; ++down)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = piece.first_row + kRows * down + 8 * half + self.group;
      if (row >= shape.width) continue;
      if (piece.layer && piece.first_pair == 0 && self.member == 0)
        store_sum(bias + row, sums.values[down][PieceSums::kBias][2 * half], add);
#pragma unroll
      for (int block = 0; block < 2 * kPiecePairs; ++block)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          if (block >= 2 * piece.pairs) continue;
          const float sum = sums.values[down][block][2 * half + j];
          int column = piece.first_pair * kColumns + 8 * block + 2 * self.member + j;
          bool inside = column < columns;
          if (piece.layer == 0) {
            const int axis = column / axis_features, feature = column % axis_features;
            inside = axis < shape.axes && feature < shape.features;
            if (axis == 0 && feature == shape.features) store_sum(bias + row, sum, add);
            column = axis * shape.features + feature;
          }
          if (inside) store_sum(weight + row * columns + column, sum, add);
        }
    }
}

// The output layer's gradient: 16 inputs times all channels, and the bias, to each warp in turn.
template <int kPadded, bool kShared>
DEVICE void add_output(const Shape& shape, const Kept& kept, bool add, float* gradient) {
  const Lane self = this_lane();
  const int warps = int(blockDim.x) / kWarp, last_layer = shape.hidden_layers + 1;
  const int lane = self.lane, blocks = kPadded / kRows;
  const char* error = kept.errors() + 2 * (lane % 16) * kOut;
  const char* sine = kept.sines(shape.hidden_layers) +
                     2 * ((lane / 16 * 8 + lane % 8) * kept.stride + lane / 8 % 2 * 8);
  for (int block = self.warp; block <= blocks; block += warps) {
    float sum[4] = {0, 0, 0, 0};
    for (int pixel = 0; pixel < kept.pixels; pixel += kRows) {
      uint32_t a[4] = {kOnes, kOnes, kOnes, kOnes}, b[4];
      if (block < blocks)
        load_transposed<kShared>(a, sine + 2 * (pixel * kept.stride + block * kRows));
      load_transposed<kShared>(b, error + 2 * pixel * kOut);
      mma_16816(sum, a, b[0], b[1]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int input = block * kRows + 8 * (i / 2) + self.group;
      const int channel = 2 * self.member + i % 2;
      if (channel >= shape.out_channels) continue;
      if (block < blocks && input < shape.width)
        store_sum(gradient + shape.weight(last_layer) + channel * shape.width + input, sum[i], add);
      if (block == blocks && self.group == 0 && i < 2)
        store_sum(gradient + shape.bias(last_layer) + channel, sum[i], add);
    }
  }
}

}  // namespace cuda
}  // namespace tcnn_codec
