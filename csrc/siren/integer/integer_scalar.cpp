// Evaluation in integers in plain C++, for any processor. Loops are written so that compilers
// vectorise them at any baseline: dot products run over neighbouring columns (`pmaddwd`, `smlal`),
// so activations are [pixel][neuron], and tables [sample][neuron].

#include "siren/integer/kernels.h"

namespace tcnn_codec {
namespace {

constexpr int kRowMultiple = 4;
constexpr int kMostStride = kMostWidth;  // of activations

// (a * b + 2^14) >> 15, from both halves of the product, which have 16 bits each.
inline int16_t mul(int16_t a, int16_t b) {
  const uint16_t low = uint16_t(a * b);
  const int16_t high = int16_t((a * b) >> 16);
  return int16_t(2 * high + (((low >> 14) + 1) >> 1));
}

// The sines of phases whose upper halves are given less a quarter turn, in place.
void sines(int16_t* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const int16_t c = values[i];
    const int16_t folded = int16_t(c ^ (c >> 15));
    const int16_t r = int16_t((folded + folded) ^ 0x7fff);
    const int16_t s = mul(r, r);
    int16_t p = int16_t(mul(-70, s) + 1300);
    p = int16_t(mul(p, s) - 10582);
    p = int16_t(mul(p, s) + 25736);
    values[i] = mul(r, p);
  }
}

int64_t stride_of(int columns) { return int64_t(columns + kColumns - 1) / kColumns * kColumns; }

void build_table(const PackedLayer& layer, int rows, const int16_t* encoding, int features,
                 int64_t first, int64_t last, uint32_t* table, int64_t) {
  for (int64_t i = first; i < last; ++i)
    for (int m = 0; m < rows; ++m) {
      const int16_t* weight = layer.matrix + m * stride_of(features);
      uint32_t sum = 0;
      for (int k = 0; k < features; ++k) sum += uint32_t(weight[k] * encoding[i * features + k]);
      table[i * rows + m] = (sum << layer.shift) + layer.start[m];
    }
}

// Sums of four rows of weights with two pixels' inputs: sum[pixel][row].
inline void dot_products(const int16_t* weights, const int16_t* inputs, int64_t stride,
                         uint32_t sum[2][4]) {
  const int16_t *w0 = weights, *w1 = w0 + stride, *w2 = w1 + stride, *w3 = w2 + stride;
  const int16_t *x = inputs, *y = x + stride;
  uint32_t x0 = 0, x1 = 0, x2 = 0, x3 = 0, y0 = 0, y1 = 0, y2 = 0, y3 = 0;
  for (int64_t k = 0; k < stride; ++k) {
    x0 += uint32_t(w0[k] * x[k]);
    x1 += uint32_t(w1[k] * x[k]);
    x2 += uint32_t(w2[k] * x[k]);
    x3 += uint32_t(w3[k] * x[k]);
    y0 += uint32_t(w0[k] * y[k]);
    y1 += uint32_t(w1[k] * y[k]);
    y2 += uint32_t(w2[k] * y[k]);
    y3 += uint32_t(w3[k] * y[k]);
  }
  const uint32_t found[2][4] = {{x0, x1, x2, x3}, {y0, y1, y2, y3}};
  for (int p = 0; p < 2; ++p)
    for (int m = 0; m < 4; ++m) sum[p][m] = found[p][m];
}

void input_layer(const PackedIntegers& net, int64_t first, int64_t last, int64_t stride,
                 int16_t* out) {
  const int64_t width = net.size[0], height = net.size[1];
  const int rows = net.rows;
  for (int64_t i = first; i < last; ++i, out += stride) {
    const uint32_t* x = net.table[0] + i % width * rows;
    const uint32_t* y = net.table[1] + i / width % height * rows;
    if (net.shape.axes == 2) {
      for (int m = 0; m < rows; ++m) out[m] = int16_t((x[m] + y[m]) >> 16);
    } else {
      const uint32_t* t = net.table[2] + i / width / height * rows;
      for (int m = 0; m < rows; ++m) out[m] = int16_t((x[m] + y[m] + t[m]) >> 16);
    }
  }
}

void hidden_layer(const PackedLayer& layer, int rows, const int16_t* in, int64_t stride,
                  int16_t* out) {
  for (int m = 0; m < rows; m += 4)
    for (int p = 0; p < kIntegerTile; p += 2) {
      uint32_t sum[2][4];
      dot_products(layer.matrix + m * stride, in + p * stride, stride, sum);
      for (int q = 0; q < 2; ++q)
        for (int r = 0; r < 4; ++r)
          out[(p + q) * stride + m + r] =
              int16_t((sum[q][r] + layer.start[m + r]) << layer.shift >> 16);
    }
}

uint8_t sample(int32_t sum, int32_t multiplier, int64_t start) {
  const int64_t v = (int64_t(sum) * multiplier + start) >> 26;
  return uint8_t(v < 0 ? 0 : v > 255 ? 255 : v);
}

void output_layer(const PackedIntegers& net, const int16_t* in, int count, int64_t stride,
                  uint8_t* out) {
  const int channels = net.shape.out_channels;
  for (int p = 0; p < count; ++p)
    for (int c = 0; c < channels; ++c) {
      const int16_t* weight = net.output.matrix + c * stride;
      uint32_t sum = 0;
      for (int64_t k = 0; k < stride; ++k) sum += uint32_t(weight[k] * in[p * stride + k]);
      out[p * channels + c] = sample(int32_t(sum), net.multiplier, net.output_start[c]);
    }
}

void render(const PackedIntegers& net, int64_t first, int64_t last, uint8_t* out) {
  const int64_t stride = stride_of(net.shape.width);
  alignas(64) int16_t activations[2][kMostStride * kIntegerTile] = {};
  for (int64_t i = first; i < last; i += kIntegerTile) {
    const int count = int(last - i < kIntegerTile ? last - i : kIntegerTile);
    input_layer(net, i, i + count, stride, activations[0]);
    sines(activations[0], kIntegerTile * stride);
    for (int l = 0; l < net.shape.hidden_layers; ++l) {
      int16_t* next = activations[(l + 1) % 2];
      hidden_layer(net.hidden[l], net.rows, activations[l % 2], stride, next);
      sines(next, kIntegerTile * stride);
    }
    output_layer(net, activations[net.shape.hidden_layers % 2], count, stride,
                 out + i * net.shape.out_channels);
  }
}

}  // namespace

const IntegerKernels& scalar_integers() {
  static const IntegerKernels table{"scalar", false, kRowMultiple, build_table, render, {}};
  return table;
}

}  // namespace tcnn_codec
