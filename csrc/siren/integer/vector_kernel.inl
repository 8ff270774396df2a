// Evaluation in integers, once, over the vector types `Sums` and `Pairs` of the including unit.
// Everything is in an anonymous namespace and nothing from the standard library is inlined here: a
// function shared between units compiled for different instruction sets could be linked in the
// wrong one.
//
// Lanes are pixels. Activations are pairs of neighbouring neurons, [neuron / 2][pixel]; weights
// are pairs too, broadcast. Two rows of sums make one row of pairs. See docs/kernels.md.

#include "simd/inline.h"
#include "simd/products.h"
#include "siren/integer/kernels.h"

namespace {

using tcnn_codec::kIntegerTile;
using tcnn_codec::kMostFeatures;
using tcnn_codec::kMostWidth;
using tcnn_codec::kOutputRows;
using tcnn_codec::PackedIntegers;
using tcnn_codec::PackedLayer;

constexpr int kVectors = kIntegerTile / Sums::lanes;

// The sine of phases whose upper halves are c, less a quarter turn.
INLINE Pairs sine(Pairs c) {
  // 32767 - 2 (c < 0 ? -1 - c : c), where subtracting from all ones is an exclusive or.
  const Pairs folded = c ^ sign(c);
  const Pairs r = (folded + folded) ^ Pairs::set(0x7fff);
  const Pairs s = mul(r, r);
  Pairs p = mul(Pairs::set(-70), s) + Pairs::set(1300);
  p = mul(p, s) + Pairs::set(-10582);
  p = mul(p, s) + Pairs::set(25736);
  return mul(r, p);
}

INLINE int pairs_of(const PackedLayer& layer) { return (layer.columns + 1) / 2; }

void build_table(const PackedLayer& layer, int rows, const int16_t* encoding, int features,
                 int64_t first, int64_t last, uint32_t* table, int64_t table_stride) {
  Pair inputs[(kMostFeatures + 1) / 2 * kIntegerTile];
  int16_t* numbers = reinterpret_cast<int16_t*>(inputs);
  for (int64_t i = first; i < last; i += kIntegerTile) {
    for (int k = 0; k < 2 * pairs_of(layer); ++k)
      for (int p = 0; p < kIntegerTile; ++p)
        numbers[k / 2 * 2 * kIntegerTile + Sums::place(p, k % 2)] =
            k < features && i + p < last ? encoding[(i + p) * features + k] : int16_t(0);
    const Operands<Pair> x{layer.pairs, 1, rows, inputs, kIntegerTile, pairs_of(layer)};
    product<Sums, RowsAre::even>(x, rows, kVectors, [=](auto& block) {
      block.each([=](int m, int n, Sums sum) {
        ((sum << layer.shift) + Sums::set(layer.start[m]))
            .store(table + m * table_stride + i + n * Sums::lanes);
      });
    });
  }
}

// Walks over the pixels of a grid, and stays at the last.
struct Cursor {
  int64_t x, y, t, width, height, frames;

  INLINE Cursor(const PackedIntegers& net, int64_t pixel)
      : width(net.size[0]), height(net.size[1]), frames(net.size[2]) {
    x = pixel % width;
    y = pixel / width % height;
    t = pixel / width / height;
  }

  INLINE void step() {
    if (++x < width) return;
    x = 0;
    if (++y < height) return;
    y = 0;
    if (++t < frames) return;
    x = width - 1;
    y = height - 1;
    t = frames - 1;
  }
};

// One vector of the input layer's sines. phases(m): of its pixels at neuron m.
template <class Phases>
INLINE void input_vector(const PackedIntegers& net, const Phases& phases, Pair* out) {
  const UpperHalves upper(0);
  for (int m = 0; m < net.rows; m += 2)
    sine(upper(phases(m), phases(m + 1))).store(out + m / 2 * kIntegerTile);
}

// The input layer of a tile, from its tables. Moves on to the next tile.
INLINE void input_layer(const PackedIntegers& net, Cursor& at, Pair* out) {
  const uint32_t *tx = net.table[0], *ty = net.table[1], *tt = net.table[2];
  const int64_t sx = net.table_stride[0], sy = net.table_stride[1], st = net.table_stride[2];
  const bool moving = net.shape.axes == 3;
  for (int n = 0; n < kVectors; ++n, out += Sums::lanes) {
    if (at.x + Sums::lanes <= at.width) {
      const uint32_t *x = tx + at.x, *y = ty + at.y, *t = tt + at.t;
      if (moving)
        input_vector(
            net, [=](int m) { return Sums::load(x + m * sx) + Sums::set(y[m * sy] + t[m * st]); },
            out);
      else
        input_vector(
            net, [=](int m) { return Sums::load(x + m * sx) + Sums::set(y[m * sy]); }, out);
      at.x += Sums::lanes - 1;
      at.step();
      continue;
    }
    int64_t x[Sums::lanes], y[Sums::lanes], t[Sums::lanes];
    for (int p = 0; p < Sums::lanes; ++p, at.step()) {
      x[p] = at.x;
      y[p] = at.y;
      t[p] = at.t;
    }
    input_vector(
        net,
        [&](int m) {
          uint32_t lanes[Sums::lanes];
          for (int p = 0; p < Sums::lanes; ++p)
            lanes[p] = tx[m * sx + x[p]] + ty[m * sy + y[p]] + (moving ? tt[m * st + t[p]] : 0);
          return Sums::load(lanes);
        },
        out);
  }
}

INLINE void hidden_layer(const PackedLayer& layer, int rows, const Pair* in, Pair* out) {
  const Operands<Pair> x{layer.pairs, 1, rows, in, kIntegerTile, pairs_of(layer)};
  const UpperHalves upper(layer.shift);
  product<Sums, RowsAre::even>(
      x, rows, kVectors, [=](int m) { return Sums::set(layer.start[m]); },
      [=](auto& block) {
        block.each_two_rows([=](int m, int n, Sums first, Sums second) {
          sine(upper(first, second)).store(out + m / 2 * kIntegerTile + n * Sums::lanes);
        });
      });
}

// Samples of a tile, one byte a channel in each word. ROWS: of the packed weights.
template <int ROWS>
INLINE void output_layer(const PackedIntegers& net, const Pair* in, uint32_t* out) {
  constexpr int most = Sums::accumulators / ROWS, together = most < kVectors ? most : kVectors;
  constexpr int vectors = together >= 3 ? 3 : together;
  static_assert(kVectors % vectors == 0);
  const Operands<Pair> x{net.output.pairs, 1, ROWS, in, kIntegerTile, pairs_of(net.output)};
  for (int n = 0; n < kVectors; n += vectors)
    product_block<Sums, ROWS, vectors>(x, 0, n, FromZero<Sums>(), [&](auto& block) {
      block.each([&](int m, int v, Sums sum) {
        uint32_t* at = out + v * Sums::lanes;
        const Sums level = Levels(net.multiplier, net.output_start[m])(sum) << 8 * m;
        (m == 0 ? level : Sums::load(at) | level).store(at);
      });
    });
}

// The low bytes of each word, one a channel. Whole words are written, but for the last pixel.
template <int CHANNELS>
INLINE void store_samples(const uint32_t* words, int count, uint8_t* out) {
  int p = 0;
  if (CHANNELS > 1)
    for (; p < count - 1; ++p) __builtin_memcpy(out + p * CHANNELS, words + p, sizeof(uint32_t));
  for (; p < count; ++p)
    for (int c = 0; c < CHANNELS; ++c) out[p * CHANNELS + c] = uint8_t(words[p] >> (8 * c));
}

INLINE void store_samples(const uint32_t* words, int count, int channels, uint8_t* out) {
  if (channels == 1)
    store_samples<1>(words, count, out);
  else if (channels == 3)
    store_samples<3>(words, count, out);
  else
    store_samples<4>(words, count, out);
}

void render(const PackedIntegers& net, int64_t first, int64_t last, uint8_t* out) {
  alignas(64) Pair activations[2][kMostWidth / 2 * kIntegerTile];
  alignas(64) uint32_t words[kIntegerTile];
  Cursor at(net, first);
  for (int64_t i = first; i < last; i += kIntegerTile) {
    input_layer(net, at, activations[0]);
    for (int layer = 0; layer < net.shape.hidden_layers; ++layer)
      hidden_layer(net.hidden[layer], net.rows, activations[layer % 2],
                   activations[(layer + 1) % 2]);
    const Pair* sines = activations[net.shape.hidden_layers % 2];
    if (net.shape.out_channels == 1)
      output_layer<1>(net, sines, words);
    else
      output_layer<kOutputRows>(net, sines, words);
    const int valid = int(last - i < kIntegerTile ? last - i : kIntegerTile);
    store_samples(words, valid, net.shape.out_channels, out + i * net.shape.out_channels);
  }
}

// As fma_rounds of peak.inl.
float product_rounds(int64_t rounds) {
  constexpr int n = Sums::accumulators;
  static_assert(24 % n == 0);
  Sums sum[n];
#pragma GCC unroll 24
  for (int i = 0; i < n; ++i) sum[i] = Sums::set(uint32_t(i));
  Pairs factor = Pairs::set(1), other = factor;
  for (int64_t round = 0; round < rounds * (24 / n); ++round) {
    factor.forget();
    other.forget();
#pragma GCC unroll 24
    for (int i = 0; i < n; ++i) sum[i] = multiply_add(factor, other, sum[i]);
  }
  uint32_t lanes[Sums::lanes], total = 0;
#pragma GCC unroll 24
  for (int i = 0; i < n; ++i) {
    sum[i].store(lanes);
    total += lanes[0];
  }
  return float(total);
}

}  // namespace

#define TCNN_CODEC_TEXT2(x) #x
#define TCNN_CODEC_TEXT(x) TCNN_CODEC_TEXT2(x)
#define TCNN_CODEC_JOIN2(a, b) a##b
#define TCNN_CODEC_JOIN(a, b) TCNN_CODEC_JOIN2(a, b)

namespace tcnn_codec {

const IntegerKernels& TCNN_CODEC_JOIN(TCNN_CODEC_ISA, _integers)() {
  static const IntegerKernels table{
      TCNN_CODEC_TEXT(TCNN_CODEC_ISA),
      true,
      2,
      build_table,
      render,
      {TCNN_CODEC_TEXT(TCNN_CODEC_ISA), 2 * Sums::lanes, product_rounds}};
  return table;
}

}  // namespace tcnn_codec
