// Evaluation in integers in plain C++. Each loop sums over k as the compiler vectorises it.

#include "siren/integer/kernels.h"

namespace tcnn_codec {
namespace {

int16_t mul(int16_t a, int16_t b) { return int16_t((a * b + (1 << 14)) >> 15); }

int16_t sine(int16_t c) {
  const int16_t r = int16_t(32767 - 2 * (c < 0 ? -1 - c : c));
  const int16_t s = mul(r, r);
  int16_t p = int16_t(mul(-70, s) + 1300);
  p = int16_t(mul(p, s) - 10582);
  p = int16_t(mul(p, s) + 25736);
  return mul(r, p);
}

int32_t low(Pair p) { return int16_t(p.bits & 0xffff); }
int32_t high(Pair p) { return int16_t(p.bits >> 16); }

void build_table(const PackedLayer& layer, int rows, const int16_t* encoding, int features,
                 int64_t first, int64_t last, uint32_t* table, int64_t table_stride) {
  for (int64_t i = first; i < last; ++i)
    for (int m = 0; m < rows; ++m) {
      uint32_t sum = 0;
      for (int k = 0; k < features; ++k) {
        const Pair w = layer.weights[k / 2 * rows + m];
        sum += uint32_t((k % 2 ? high(w) : low(w)) * encoding[i * features + k]);
      }
      table[m * table_stride + i] = (sum << layer.shift) + layer.start[m];
    }
}

void render(const PackedIntegers& net, int64_t first, int64_t last, uint8_t* out) {
  const int64_t width = net.size[0], height = net.size[1];
  const int channels = net.shape.out_channels;
  for (int64_t i = first; i < last; ++i) {
    int16_t z[kMostWidth], next[kMostWidth];
    const int64_t at[3] = {i % width, i / width % height, i / width / height};
    for (int m = 0; m < net.rows; ++m) {
      uint32_t phase = 0;
      for (int a = 0; a < net.shape.axes; ++a)
        phase += net.table[a][m * net.table_stride[a] + at[a]];
      z[m] = sine(int16_t(phase >> 16));
    }
    for (int l = 0; l < net.shape.hidden_layers; ++l) {
      const PackedLayer& layer = net.hidden[l];
      for (int m = 0; m < net.rows; ++m) {
        uint32_t sum = layer.start[m];
        for (int k = 0; k < layer.pairs; ++k) {
          const Pair w = layer.weights[k * net.rows + m];
          sum += uint32_t(low(w) * z[2 * k]) + uint32_t(high(w) * z[2 * k + 1]);
        }
        next[m] = sine(int16_t((sum << layer.shift) >> 16));
      }
      for (int m = 0; m < net.rows; ++m) z[m] = next[m];
    }
    for (int c = 0; c < channels; ++c) {
      int32_t sum = 0;
      for (int k = 0; k < net.output.pairs; ++k) {
        const Pair w = net.output.weights[k * channels + c];
        sum += low(w) * z[2 * k] + high(w) * z[2 * k + 1];
      }
      const int64_t v = (int64_t(sum) * net.multiplier + net.output_start[c]) >> 26;
      out[i * channels + c] = uint8_t(v < 0 ? 0 : v > 255 ? 255 : v);
    }
  }
}

}  // namespace

const IntegerKernels& scalar_integers() {
  static const IntegerKernels table{"scalar", build_table, render};
  return table;
}

}  // namespace tcnn_codec
