// Matrix products in register blocks: the one routine behind every layer, forward and backward.
// Include after the unit's vec_*.h, which defines Vec.
#pragma once

#include <cstddef>

#include "inline.h"

namespace {

// A product C[m][n] = sum over k < depth of a[m * a_row + k * a_step] * b[k * b_row + n].
struct Operands {
  const float* a;
  ptrdiff_t a_row, a_step;
  const float* b;
  ptrdiff_t b_row;
  int depth;
};

// One register block: MR rows by NR vectors. `done(m, n, sum)` takes the results, m and n counted
// in rows and vectors from the whole product's origin. Sums start at zero and biases are added at
// the end: biases are larger than most partial sums and would cost them two bits.
template <class V, int MR, int NR, class Done>
INLINE void product_block(const Operands& x, int m0, int n0, const Done& done) {
  V sum[MR][NR];
#pragma GCC unroll 24
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NR; ++n) sum[m][n] = V::zero();
  const float* a = x.a + m0 * x.a_row;
  const float* b = x.b + n0 * V::lanes;
  for (int k = 0; k < x.depth; ++k, a += x.a_step, b += x.b_row) {
    V right[NR];
#pragma GCC unroll 4
    for (int n = 0; n < NR; ++n) right[n] = V::load(b + n * V::lanes);
#pragma GCC unroll 24
    for (int m = 0; m < MR; ++m) {
      const V left = V::set(a[m * x.a_row]);
#pragma GCC unroll 4
      for (int n = 0; n < NR; ++n) sum[m][n] = multiply_add(left, right[n], sum[m][n]);
    }
  }
#pragma GCC unroll 24
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NR; ++n) done(m0 + m, n0 + n, sum[m][n]);
}

// Blocks of MR rows, then the remainder in halves of it.
template <class V, int MR, int NR, class Done>
INLINE void product_rows(const Operands& x, int m, int rows, int n, const Done& done) {
  for (; m + MR <= rows; m += MR) product_block<V, MR, NR>(x, m, n, done);
  if constexpr (MR > 1) {
    if (m < rows) product_rows<V, MR / 2, NR>(x, m, rows, n, done);
  }
}

constexpr int floor_power_of_two(int x) { return x < 2 ? 1 : 2 * floor_power_of_two(x / 2); }

// RowsAre says what the row count is a multiple of, which decides the block's height.
enum class RowsAre { tile, any };

template <class V, int NR, RowsAre kind, class Done>
INLINE void product_columns(const Operands& x, int rows, int n, const Done& done) {
  constexpr int most = V::accumulators / NR;
  product_rows<V, kind == RowsAre::tile ? most : floor_power_of_two(most), NR>(x, 0, rows, n, done);
}

// The whole product, `rows` by `vectors`.
template <class V, RowsAre kind, class Done>
INLINE void product(const Operands& x, int rows, int vectors, const Done& done) {
  constexpr int most = V::accumulators >= 24 ? 4 : V::accumulators >= 12 ? 3 : 2;
  for (int n = 0; n < vectors;) {
    const int left = vectors - n;
    const int take = left <= most ? left : left == most + 1 ? (left + 1) / 2 : most;
    if (most >= 4 && take == 4) product_columns<V, (most >= 4 ? 4 : 1), kind>(x, rows, n, done);
    if (most >= 3 && take == 3) product_columns<V, (most >= 3 ? 3 : 1), kind>(x, rows, n, done);
    if (take == 2) product_columns<V, 2, kind>(x, rows, n, done);
    if (take == 1) product_columns<V, 1, kind>(x, rows, n, done);
    n += take;
  }
}

// destination [rows, vectors] += a * b; the product is summed in registers first, which keeps
// long sums accurate.
INLINE void add_product(const Operands& x, int rows, int vectors, float* destination,
                        ptrdiff_t stride) {
  product<Vec, RowsAre::any>(x, rows, vectors, [=](int m, int n, Vec sum) {
    float* d = destination + m * stride + n * Vec::lanes;
    (Vec::load(d) + sum).store(d);
  });
}

}  // namespace
