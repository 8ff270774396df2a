// Muon (Jordan et al., 2024) on weight matrices, one block per matrix, its products in float16
// summed in float32; siren/cpu/optimiser.h does the same in float32.
#pragma once

#include "siren/cuda/train.cuh"

namespace tcnn_codec {
namespace cuda {

// Columns that a warp computes at once of kRows rows.
constexpr int kMuonColumns = 32;

// The matrix that Muon works on, float16 in rows of `stride`: the longer side goes down the rows.
struct MuonShape {
  int tall, narrow, stride;

  DEVICE_HOST MuonShape(const Shape& shape, int layer) {
    const int rows = shape.rows(layer), columns = shape.columns(layer);
    tall = round_up(rows > columns ? rows : columns, kRows);
    narrow = round_up(rows > columns ? columns : rows, kRows);
    stride = row_stride(narrow);
  }
  // Of the matrix, twice, and of two square ones; the sums of shrink() fit in as well.
  DEVICE_HOST int64_t bytes() const { return int64_t(4) * stride * (tall + narrow); }
};

// Of what one block works in.
DEVICE_HOST int64_t muon_bytes(const Shape& shape) {
  int64_t most = 0;
  for (int layer = 0; layer < shape.layers(); ++layer) {
    const int64_t bytes = MuonShape(shape, layer).bytes();
    if (bytes > most) most = bytes;
  }
  return most;
}

// A float16 matrix in rows of `stride`.
struct Matrix {
  char* memory;
  int stride;

  DEVICE char* at(int row, int column) const { return memory + 2 * (row * stride + column); }
  DEVICE uint32_t& pair(int row, int column) const {
    return *reinterpret_cast<uint32_t*>(at(row, column));
  }
  DEVICE uint16_t& half(int row, int column) const {
    return *reinterpret_cast<uint16_t*>(at(row, column));
  }
};

// kRows rows and kMuonColumns columns of a product, in the fragments of mma_16816.
struct MuonTile {
  int row, column, blocks;  // blocks: of eight columns, 4 or where the matrix ends 2
  float sums[kMuonColumns / 8][4] = {};

  // `index` counts along the rows of tiles first.
  DEVICE MuonTile(int index, int narrow) {
    row = index / across(narrow) * kRows;
    column = index % across(narrow) * kMuonColumns;
    blocks = narrow - column < kMuonColumns ? 2 : 4;
  }
  DEVICE static int count(int rows, int narrow) { return rows / kRows * across(narrow); }
  DEVICE static int across(int narrow) { return (narrow + kMuonColumns - 1) / kMuonColumns; }

  // to = a from + b sums; from may be `to`.
  DEVICE void store(float a, const Matrix& from, float b, const Matrix& to) const {
    const Lane self = this_lane();
#pragma unroll
    for (int block = 0; block < kMuonColumns / 8; ++block)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (block >= blocks) break;
        const int r = row + 8 * half + self.group, c = column + 8 * block + 2 * self.member;
        const float* sum = sums[block] + 2 * half;
        float2 before = make_float2(0, 0);
        if (a != 0) before = unpack_half2(from.pair(r, c));
        to.pair(r, c) = pack_half2(a * before.x + b * sum[0], a * before.y + b * sum[1]);
      }
  }
};

// gram = x^T x, [narrow, narrow].
template <bool kShared>
DEVICE void gram_of(const MuonShape& sides, const Matrix& x, const Matrix& gram) {
  const Lane self = this_lane();
  const int lane = self.lane;
  for (int index = self.warp; index < MuonTile::count(sides.narrow, sides.narrow);
       index += block_warps()) {
    MuonTile tile(index, sides.narrow);
    // Rows of the sum first, see add_pixels.
    const char* left = x.at(lane / 16 * 8 + lane % 8, tile.row + lane / 8 % 2 * 8);
    const char* right = x.at(lane % 16, tile.column + lane / 16 * 8);
    for (int k = 0; k < sides.tall; k += kRows) {
      uint32_t a[4];
      load_transposed<kShared>(a, left + 2 * k * x.stride);
#pragma unroll
      for (int block = 0; block < kMuonColumns / 8; block += 2) {
        if (block >= tile.blocks) break;
        uint32_t b[4];
        load_transposed<kShared>(b, right + 2 * (k * x.stride + 8 * block));
        mma_16816(tile.sums[block], a, b[0], b[1]);
        mma_16816(tile.sums[block + 1], a, b[2], b[3]);
      }
    }
    tile.store(0, gram, 1, gram);
  }
  block_barrier();
}

// out = a x + b x s for a symmetric s [narrow, narrow], whose columns are taken for its rows.
DEVICE void times_symmetric(const Matrix& x, int rows, int narrow, float a, float b,
                            const Matrix& s, const Matrix& out) {
  const Lane self = this_lane();
  const int column = 2 * self.member;
  for (int index = self.warp; index < MuonTile::count(rows, narrow); index += block_warps()) {
    MuonTile tile(index, narrow);
    const int row = tile.row + self.group;
    for (int k = 0; k < narrow; k += kRows) {
      const uint32_t left[4] = {x.pair(row, k + column), x.pair(row + 8, k + column),
                                x.pair(row, k + 8 + column), x.pair(row + 8, k + 8 + column)};
#pragma unroll
      for (int block = 0; block < kMuonColumns / 8; ++block) {
        if (block >= tile.blocks) break;
        const int n = tile.column + 8 * block + self.group;
        mma_16816(tile.sums[block], left, s.pair(n, k + column), s.pair(n, k + 8 + column));
      }
    }
    tile.store(a, x, b, out);
  }
  block_barrier();
}

// The rate term of siren/cpu/optimiser.h on a weight matrix. sums: kMostWarps + 1 floats per
// column.
DEVICE void shrink(float* weights, int rows, int columns, float rate, float floor, float* sums,
                   float* sums_of_warps) {
  const Lane self = this_lane();
  float* sums_of_rows = sums + (self.warp + 1) * columns;
  for (int c = self.lane; c < columns; c += kWarp) {
    sums_of_rows[c] = sum_of<float>(
        self.warp, rows, block_warps(), [&](int r) { return fabsf(weights[r * columns + c]); },
        [](float& sum, float value) { sum += value; });
  }
  block_barrier();
  float mine = 0;
  for (int c = int(threadIdx.x); c < columns; c += block_threads()) {
    float sum = 0;
    for (int warp = 1; warp <= block_warps(); ++warp) sum += sums[warp * columns + c];
    sums[c] = sum;
    mine += sum;
  }
  const float mean = block_sum(mine, sums_of_warps) / float(columns);
  if (mean == 0) return;
  const auto weight = [&](int i) { return weights[i]; };
  for_each(rows * columns, weight, [&](int i, float value) {
    // Of `rows` weights each: sums stand for means.
    const float less = rate * mean / (sums[i % columns] + floor * mean);
    weights[i] = copysignf(fmaxf(fabsf(value) - less, 0.0f), value);
  });
}

// Muon on the weight of `layer`, whose update with Nesterov momentum `reduce` left where the
// gradient was, then the rate term. scratch: muon_bytes, of shared memory with kShared.
template <bool kShared>
DEVICE void muon_step(const Shape& shape, const Network& network,
                      const OptimiserConstants& constants, int layer, float learning_rate,
                      char* scratch, float* sums_of_warps) {
  const int rows = shape.rows(layer), columns = shape.columns(layer), size = rows * columns;
  const MuonShape sides(shape, layer);
  const int stride = sides.stride, narrow = sides.narrow;
  const bool wide = columns > rows;
  float* params = network.params + shape.weight(layer);
  const float* updates = network.gradient + shape.weight(layer);
  const auto update = [&](int i) { return updates[i]; };
  Matrix x{scratch, stride}, next{x.at(sides.tall, 0), stride};
  const Matrix gram{next.at(sides.tall, 0), stride}, polynomial{gram.at(narrow, 0), stride};
  const auto place = [&](int i) -> uint16_t& {
    const int row = i / columns, column = i % columns;
    return wide ? x.half(column, row) : x.half(row, column);
  };

  float squares = 0;
  for_each(size, update, [&](int, float value) { squares += value * value; });
  for (int i = int(threadIdx.x); i < sides.tall * stride / 8; i += block_threads())
    reinterpret_cast<uint4*>(x.memory)[i] = make_uint4(0, 0, 0, 0);
  // The barrier in it also stands between the zeros and the values. Norm 1 comes before float16,
  // which has no room for updates of any size.
  const float scale = 1 / fmaxf(sqrtf(block_sum(squares, sums_of_warps)), 1e-7f);
  for_each(size, update,
           [&](int i, float value) { place(i) = uint16_t(pack_half2(scale * value, 0)); });
  block_barrier();

  // x becomes about the nearest matrix with orthonormal columns, siren/cpu/optimiser.h.
  constexpr float a = kNewtonSchulz[0], b = kNewtonSchulz[1], c = kNewtonSchulz[2];
  for (int step = 0; step < kNewtonSchulzSteps; ++step) {
    gram_of<kShared>(sides, x, gram);
    times_symmetric(gram, narrow, narrow, b, c, gram, polynomial);
    times_symmetric(x, sides.tall, narrow, a, 1, polynomial, next);
    const Matrix swap = x;
    x = next;
    next = swap;
  }

  const float rate = learning_rate * (wide ? 1.0f : sqrtf(float(rows) / float(columns)));
  const auto weight = [&](int i) { return params[i]; };
  for_each(size, weight,
           [&](int i, float value) { params[i] = value - rate * unpack_half2(place(i)).x; });
  block_barrier();
  shrink(params, rows, columns, learning_rate * constants.rate_weight, constants.rate_floor,
         reinterpret_cast<float*>(scratch), sums_of_warps);
}

// Every weight matrix to one block. scratch: see muon_step.
template <bool kShared>
DEVICE_CALL inline void optimise(const Shape& shape, const Network& network,
                                 const OptimiserConstants& constants, const Group& group, int step,
                                 char* scratch, float* sums_of_warps) {
  if (network.scales) return;
  for (int layer = group.index; layer < shape.layers(); layer += group.size) {
    muon_step<kShared>(shape, network, constants, layer, network.steps[step].learning_rate, scratch,
                       sums_of_warps);
    block_barrier();
  }
}

}  // namespace cuda
}  // namespace tcnn_codec
