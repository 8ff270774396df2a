// The products of a tile of pixels in bfloat16, by vdpbf16ps in register blocks: what
// siren_bfloat16.inl is built upon. tile_products.h has the same for AMX.
#pragma once

#include "simd/products.h"
#include "siren/cpu/tile.h"

namespace {

using PairProduct = Operands<Pair>;

// Sums over features run over a multiple of so many, the last of which are zeros.
constexpr int kDepth = 2;
// Words of a row of the output layer's weights.
constexpr int kOutWords = kOut;

class ProductsInUse {
 public:
  ProductsInUse() {}
};

// f(m, n, sums, next) for each even pixel m and each vector n of x, [kTile, vectors], `next` being
// pixel m + 1's; f may change both. column_sums [vectors], unless null, grows by their sum over
// pixels.
template <class F>
INLINE void layer_product(const PairProduct& x, int vectors, float* column_sums, const F& f) {
  product<Vec, RowsAre::tile>(x, kTile, vectors, [=](auto& block) {
    block.each_two_rows(f);
    if (column_sums) block.add_rows(column_sums);
  });
}

// y [kTile, kOut] = x plus the bias [kOut].
INLINE void output_product(const PairProduct& x, const float* bias, float* y) {
  const Vec4 first = Vec4::load(bias);
  product<Vec4, RowsAre::tile>(x, kTile, 1, [=](auto& block) {
    block.each([=](int m, int, Vec4 sum) { (sum + first).store(y + m * kOut); });
  });
}

// sums [rows, row] += a^T b over pixels. a: pairs of pixels, [kTile / 2, a_row], of which `rows`
// columns count; b: [kTile / 2, row], of `vectors` vectors.
INLINE void gradient_product(const Pair* a, ptrdiff_t a_row, int rows, const Pair* b, ptrdiff_t row,
                             int vectors, float* sums) {
  add_product(PairProduct{a, 1, a_row, b, row, kTile / 2}, rows, vectors, sums, row);
}

}  // namespace
