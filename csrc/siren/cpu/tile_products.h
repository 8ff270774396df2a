// The products of a tile of pixels in bfloat16, in the tile registers of AMX: what
// siren_bfloat16.inl is built upon. vector_products.h has the same for vdpbf16ps.
#pragma once

#include "simd/amx.h"
#include "simd/products.h"
#include "siren/cpu/tile.h"

namespace {

using PairProduct = Operands<Pair>;

// Sums over features run over a multiple of so many, the last of which are zeros.
constexpr int kDepth = 2 * kTileSide;
// Words of a row of the output layer's weights.
constexpr int kOutWords = kTileSide;

using ProductsInUse = TilesInUse;

// The sums of MR x NR squares are in tiles 0 to 3, that of row m and column n in 2 m + n; operands
// are in 4 to 7. So four loads serve four products.
template <int MR, int NR>
struct Squares {
  // Of sums in memory, from one row to the next.
  static constexpr int kRow = 2 * kTileSide;

  static INLINE void zero() {
    tile_zero<0>();
    if constexpr (NR > 1) tile_zero<1>();
    if constexpr (MR > 1) tile_zero<2>();
    if constexpr (MR > 1 && NR > 1) tile_zero<3>();
  }

  static INLINE void load(const float* from, ptrdiff_t row) {
    const float* below = from + kTileSide * row;
    tile_load<0>(from, row);
    if constexpr (NR > 1) tile_load<1>(from + kTileSide, row);
    if constexpr (MR > 1) tile_load<2>(below, row);
    if constexpr (MR > 1 && NR > 1) tile_load<3>(below + kTileSide, row);
  }

  static INLINE void store(float* to, ptrdiff_t row) {
    float* below = to + kTileSide * row;
    tile_store<0>(to, row);
    if constexpr (NR > 1) tile_store<1>(to + kTileSide, row);
    if constexpr (MR > 1) tile_store<2>(below, row);
    if constexpr (MR > 1 && NR > 1) tile_store<3>(below + kTileSide, row);
  }

  static INLINE void add(const Pair* a, ptrdiff_t a_row, const Pair* b, ptrdiff_t b_row,
                         int pairs) {
    for (int k = 0; k < pairs; k += kTileSide) {
      const Pair* right = b + k * b_row;
      tile_load<4>(a + k, a_row);
      tile_load<6>(right, b_row);
      tile_multiply_add<0, 4, 6>();
      if constexpr (NR > 1) {
        tile_load<7>(right + kTileSide, b_row);
        tile_multiply_add<1, 4, 7>();
      }
      if constexpr (MR > 1) {
        tile_load<5>(a + k + kTileSide * a_row, a_row);
        tile_multiply_add<2, 5, 6>();
        if constexpr (NR > 1) tile_multiply_add<3, 5, 7>();
      }
    }
  }
};

template <int NR, class F>
INLINE void layer_squares(const PairProduct& x, int m, int n, float* column_sums, const F& f) {
  using Sums = Squares<2, NR>;
  alignas(64) float sums[2 * kTileSide * Sums::kRow];
  Sums::zero();
  Sums::add(x.a + m * x.a_row, x.a_row, x.b + n * kTileSide, x.b_row, x.depth);
  Sums::store(sums, Sums::kRow);
  Vec totals[NR];
  for (int column = 0; column < NR; ++column) totals[column] = Vec::zero();
  for (int row = 0; row < 2 * kTileSide; row += 2)
    for (int column = 0; column < NR; ++column) {
      const float* at = sums + row * Sums::kRow + column * kTileSide;
      Vec low = Vec::load(at), high = Vec::load(at + Sums::kRow);
      f(m + row, n + column, low, high);
      totals[column] = totals[column] + (low + high);
    }
  if (!column_sums) return;
  for (int column = 0; column < NR; ++column) {
    float* into = column_sums + (n + column) * kTileSide;
    (Vec::load(into) + totals[column]).store(into);
  }
}

// f(m, n, sums, next) for each even pixel m and each vector n of x, [kTile, vectors], `next` being
// pixel m + 1's; f may change both. column_sums [vectors], unless null, grows by their sum over
// pixels.
template <class F>
INLINE void layer_product(const PairProduct& x, int vectors, float* column_sums, const F& f) {
  for (int n = 0; n < vectors; n += 2)
    for (int m = 0; m < kTile; m += 2 * kTileSide)
      if (n + 1 < vectors)
        layer_squares<2>(x, m, n, column_sums, f);
      else
        layer_squares<1>(x, m, n, column_sums, f);
}

// y [kTile, kOut] = x plus the bias [kOut].
INLINE void output_product(const PairProduct& x, const float* bias, float* y) {
  const Vec4 first = Vec4::load(bias);
  alignas(64) float sums[2 * kTileSide * kTileSide];
  for (int m = 0; m < kTile; m += 2 * kTileSide) {
    Squares<2, 1>::zero();
    Squares<2, 1>::add(x.a + m * x.a_row, x.a_row, x.b, x.b_row, x.depth);
    Squares<2, 1>::store(sums, kTileSide);
    for (int row = 0; row < 2 * kTileSide; ++row)
      (Vec4::load(sums + row * kTileSide) + first).store(y + (m + row) * kOut);
  }
}

template <int MR, int NR>
INLINE void gradient_squares(const Pair* columns, const Pair* b, ptrdiff_t row, int rows,
                             float* sums) {
  using Sums = Squares<MR, NR>;
  if (rows >= MR * kTileSide) {
    Sums::load(sums, row);
    Sums::add(columns, kTile / 2, b, row, kTile / 2);
    Sums::store(sums, row);
    return;
  }
  alignas(64) float more[2 * kTileSide * Sums::kRow];
  Sums::zero();
  Sums::add(columns, kTile / 2, b, row, kTile / 2);
  Sums::store(more, Sums::kRow);
  for (int m = 0; m < rows; ++m)
    for (int n = 0; n < NR * kTileSide; n += kTileSide) {
      float* into = sums + m * row + n;
      (Vec::load(into) + Vec::load(more + m * Sums::kRow + n)).store(into);
    }
}

// sums [rows, row] += a^T b over pixels. a: pairs of pixels, [kTile / 2, a_row], of which `rows`
// columns count, and up to fifteen words behind them are read; b: [kTile / 2, row], of `vectors`
// vectors.
INLINE void gradient_product(const Pair* a, ptrdiff_t a_row, int rows, const Pair* b, ptrdiff_t row,
                             int vectors, float* sums) {
  // The left operand has pairs along its rows, and those of `a` lie along its columns.
  alignas(64) Pair columns[tcnn_codec::kMostWidth * kTile / 2];
  for (int m = 0; m < rows; m += kTileSide)
    for (int k = 0; k < kTile / 2; k += kTileSide)
      transpose_words(a + k * a_row + m, a_row, columns + m * (kTile / 2) + k, kTile / 2);
  for (int m = 0; m < rows; m += 2 * kTileSide)
    for (int n = 0; n < vectors; n += 2) {
      const Pair *left = columns + m * (kTile / 2), *right = b + n * kTileSide;
      float* into = sums + m * row + n * kTileSide;
      const int rest = rows - m;
      if (rest > kTileSide && n + 1 < vectors)
        gradient_squares<2, 2>(left, right, row, rest, into);
      else if (rest > kTileSide)
        gradient_squares<2, 1>(left, right, row, rest, into);
      else if (n + 1 < vectors)
        gradient_squares<1, 2>(left, right, row, rest, into);
      else
        gradient_squares<1, 1>(left, right, row, rest, into);
    }
}

}  // namespace
