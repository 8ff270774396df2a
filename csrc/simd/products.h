// Matrix products in register blocks: the one routine behind every layer, forward and backward.
#pragma once

#include <cstddef>

#include "simd/inline.h"

namespace {

// A product C[m][n] = sum over k < depth of a[m * a_row + k * a_step] * b[k * b_row + n]. T is a
// float, or a pair of bfloat16 or int16 that stands for two steps of k.
template <class T>
struct Operands {
  const T* a;
  ptrdiff_t a_row, a_step;
  const T* b;
  ptrdiff_t b_row;
  int depth;
};

// Sums of MR rows by NR vectors, and where they lie in the whole product.
template <class V, int MR, int NR>
struct Block {
  static constexpr int rows = MR, vectors = NR;
  int row, vector;
  V sum[MR][NR];

  // f(m, n, sum), m and n counted from the whole product's origin.
  template <class F>
  INLINE void each(const F& f) {
#pragma GCC unroll 24
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < NR; ++n) f(row + m, vector + n, sum[m][n]);
  }

  // f(m, n, sum, next) for each even m, `next` being row m + 1's.
  template <class F>
  INLINE void each_two_rows(const F& f) {
    static_assert(MR % 2 == 0);
#pragma GCC unroll 12
    for (int m = 0; m < MR; m += 2)
#pragma GCC unroll 4
      for (int n = 0; n < NR; ++n) f(row + m, vector + n, sum[m][n], sum[m + 1][n]);
  }

  // destination [vectors] += the sum of the rows.
  INLINE void add_rows(float* destination) const {
#pragma GCC unroll 4
    for (int n = 0; n < NR; ++n) {
      V total = sum[0][n];
#pragma GCC unroll 24
      for (int m = 1; m < MR; ++m) total = total + sum[m][n];
      float* d = destination + (vector + n) * V::lanes;
      (V::load(d) + total).store(d);
    }
  }
};

// Where sums start: at zero. In float, biases are added at the end: they are larger than most
// partial sums and would cost them two bits.
template <class V>
struct FromZero {
  INLINE V operator()(int) const { return V::zero(); }
};

// `done` takes the block. start(m): of row m's sums.
template <class V, int MR, int NR, class T, class Start, class Done>
INLINE void product_block(const Operands<T>& x, int row, int vector, const Start& start,
                          const Done& done) {
  Block<V, MR, NR> block;
  block.row = row;
  block.vector = vector;
#pragma GCC unroll 24
  for (int m = 0; m < MR; ++m) {
    const V first = start(row + m);
#pragma GCC unroll 4
    for (int n = 0; n < NR; ++n) block.sum[m][n] = first;
  }
  const T* a = x.a + row * x.a_row;
  const T* b = x.b + vector * V::lanes;
  for (int k = 0; k < x.depth; ++k, a += x.a_step, b += x.b_row) {
    decltype(V::load(b)) right[NR];
#pragma GCC unroll 4
    for (int n = 0; n < NR; ++n) right[n] = V::load(b + n * V::lanes);
#pragma GCC unroll 24
    for (int m = 0; m < MR; ++m) {
      const auto left = V::set(a[m * x.a_row]);
#pragma GCC unroll 4
      for (int n = 0; n < NR; ++n) block.sum[m][n] = multiply_add(left, right[n], block.sum[m][n]);
    }
  }
  done(block);
}

// Blocks of MR rows, then the remainder in halves of it, down to LEAST.
template <class V, int MR, int NR, int LEAST, class T, class Start, class Done>
INLINE void product_rows(const Operands<T>& x, int m, int rows, int n, const Start& start,
                         const Done& done) {
  for (; m + MR <= rows; m += MR) product_block<V, MR, NR>(x, m, n, start, done);
  if constexpr (MR > LEAST) {
    if (m < rows) product_rows<V, MR / 2, NR, LEAST>(x, m, rows, n, start, done);
  }
}

constexpr int floor_power_of_two(int x) { return x < 2 ? 1 : 2 * floor_power_of_two(x / 2); }

// RowsAre says what the row count is a multiple of, which decides the block's height.
enum class RowsAre { tile, even, any };

template <class V, int NR, RowsAre kind, class T, class Start, class Done>
INLINE void product_columns(const Operands<T>& x, int rows, int n, const Start& start,
                            const Done& done) {
  constexpr int most = V::accumulators / NR;
  if constexpr (kind == RowsAre::tile)
    for (int m = 0; m < rows; m += most) product_block<V, most, NR>(x, m, n, start, done);
  else
    product_rows<V, floor_power_of_two(most), NR, (kind == RowsAre::even ? 2 : 1)>(x, 0, rows, n,
                                                                                   start, done);
}

// The whole product, `rows` by `vectors`.
template <class V, RowsAre kind, class T, class Start, class Done>
INLINE void product(const Operands<T>& x, int rows, int vectors, const Start& start,
                    const Done& done) {
  constexpr int most = V::accumulators >= 24 ? 4 : V::accumulators >= 12 ? 3 : 2;
  for (int n = 0; n < vectors;) {
    const int left = vectors - n;
    const int take = left <= most ? left : left == most + 1 ? (left + 1) / 2 : most;
    if (most >= 4 && take == 4)
      product_columns<V, (most >= 4 ? 4 : 1), kind>(x, rows, n, start, done);
    if (most >= 3 && take == 3)
      product_columns<V, (most >= 3 ? 3 : 1), kind>(x, rows, n, start, done);
    if (take == 2) product_columns<V, 2, kind>(x, rows, n, start, done);
    if (take == 1) product_columns<V, 1, kind>(x, rows, n, start, done);
    n += take;
  }
}

template <class V, RowsAre kind, class T, class Done>
INLINE void product(const Operands<T>& x, int rows, int vectors, const Done& done) {
  product<V, kind>(x, rows, vectors, FromZero<V>(), done);
}

}  // namespace
