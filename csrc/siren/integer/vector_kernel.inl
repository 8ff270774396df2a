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

void build_table(const PackedLayer& layer, int rows, const int16_t* encoding, int features,
                 int64_t first, int64_t last, uint32_t* table, int64_t table_stride) {
  Pair inputs[(kMostFeatures + 1) / 2 * kIntegerTile];
  int16_t* numbers = reinterpret_cast<int16_t*>(inputs);
  for (int64_t i = first; i < last; i += kIntegerTile) {
    for (int k = 0; k < 2 * layer.pairs; ++k)
      for (int p = 0; p < kIntegerTile; ++p)
        numbers[k / 2 * 2 * kIntegerTile + Sums::place(p, k % 2)] =
            k < features && i + p < last ? encoding[(i + p) * features + k] : int16_t(0);
    const Operands<Pair> x{layer.weights, 1, rows, inputs, kIntegerTile, layer.pairs};
    product<Sums, RowsAre::even>(x, rows, kVectors, [=](auto& block) {
      block.each([=](int m, int n, Sums sum) {
        ((sum << layer.shift) + Sums::set(layer.start[m]))
            .store(table + m * table_stride + i + n * Sums::lanes);
      });
    });
  }
}

// Where the pixels of one vector lie: at one row of one frame from x on, or anywhere.
struct Place {
  bool apart;
  int64_t x, y, t;
};

// The input layer of a tile, from its tables.
INLINE void input_layer(const PackedIntegers& net, int64_t first, Pair* out) {
  const int64_t width = net.size[0], height = net.size[1], pixels = width * height * net.size[2];
  const bool moving = net.shape.axes == 3;
  const UpperHalves upper(0);
  for (int n = 0; n < kVectors; ++n) {
    int64_t x[Sums::lanes], y[Sums::lanes], t[Sums::lanes];
    for (int p = 0; p < Sums::lanes; ++p) {
      const int64_t pixel = first + n * Sums::lanes + p;
      const int64_t at = pixel < pixels ? pixel : pixels - 1;
      x[p] = at % width;
      y[p] = at / width % height;
      t[p] = at / width / height;
    }
    const bool together = x[0] + Sums::lanes <= width;
    const auto phases = [&](int m) {
      const uint32_t* tx = net.table[0] + m * net.table_stride[0];
      const uint32_t* ty = net.table[1] + m * net.table_stride[1];
      const uint32_t* tt = net.table[2] + m * net.table_stride[2];
      if (together) {
        const Sums xy = Sums::load(tx + x[0]) + Sums::set(ty[y[0]]);
        return moving ? xy + Sums::set(tt[t[0]]) : xy;
      }
      uint32_t lanes[Sums::lanes];
      for (int p = 0; p < Sums::lanes; ++p)
        lanes[p] = tx[x[p]] + ty[y[p]] + (moving ? tt[t[p]] : 0);
      return Sums::load(lanes);
    };
    for (int m = 0; m < net.rows; m += 2)
      sine(upper(phases(m), phases(m + 1))).store(out + m / 2 * kIntegerTile + n * Sums::lanes);
  }
}

INLINE void hidden_layer(const PackedLayer& layer, int rows, const Pair* in, Pair* out) {
  const Operands<Pair> x{layer.weights, 1, rows, in, kIntegerTile, layer.pairs};
  const UpperHalves upper(layer.shift);
  product<Sums, RowsAre::even>(
      x, rows, kVectors, [=](int m) { return Sums::set(layer.start[m]); },
      [=](auto& block) {
        block.each_two_rows([=](int m, int n, Sums first, Sums second) {
          sine(upper(first, second)).store(out + m / 2 * kIntegerTile + n * Sums::lanes);
        });
      });
}

// Samples of a tile, one byte a channel in each word.
INLINE void output_layer(const PackedIntegers& net, const Pair* in, uint32_t* out) {
  const int channels = net.shape.out_channels;
  const Operands<Pair> x{net.output.weights, 1, channels, in, kIntegerTile, net.output.pairs};
  product<Sums, RowsAre::any>(x, channels, kVectors, [&](auto& block) {
    block.each([&](int m, int n, Sums sum) {
      uint32_t* at = out + n * Sums::lanes;
      const Sums level = Levels(net.multiplier, net.output_start[m])(sum) << 8 * m;
      (m == 0 ? level : Sums::load(at) | level).store(at);
    });
  });
}

INLINE void store_samples(const uint32_t* words, int count, int channels, uint8_t* out) {
  for (int p = 0; p < count; ++p)
    for (int c = 0; c < channels; ++c) out[p * channels + c] = uint8_t(words[p] >> (8 * c));
}

void render(const PackedIntegers& net, int64_t first, int64_t last, uint8_t* out) {
  alignas(64) Pair activations[2][kMostWidth / 2 * kIntegerTile];
  alignas(64) uint32_t words[kIntegerTile];
  for (int64_t i = first; i < last; i += kIntegerTile) {
    input_layer(net, i, activations[0]);
    for (int layer = 0; layer < net.shape.hidden_layers; ++layer)
      hidden_layer(net.hidden[layer], net.rows, activations[layer % 2],
                   activations[(layer + 1) % 2]);
    output_layer(net, activations[net.shape.hidden_layers % 2], words);
    const int valid = int(last - i < kIntegerTile ? last - i : kIntegerTile);
    store_samples(words, valid, net.shape.out_channels, out + i * net.shape.out_channels);
  }
}

}  // namespace

#define TCNN_CODEC_TEXT2(x) #x
#define TCNN_CODEC_TEXT(x) TCNN_CODEC_TEXT2(x)
#define TCNN_CODEC_JOIN2(a, b) a##b
#define TCNN_CODEC_JOIN(a, b) TCNN_CODEC_JOIN2(a, b)

namespace tcnn_codec {

const IntegerKernels& TCNN_CODEC_JOIN(TCNN_CODEC_ISA, _integers)() {
  static const IntegerKernels table{TCNN_CODEC_TEXT(TCNN_CODEC_ISA), build_table, render};
  return table;
}

}  // namespace tcnn_codec
