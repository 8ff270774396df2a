// The optimiser's arithmetic: Adam, and Muon for square weight matrices. Include after the unit's
// vec_*.h, which defines Vec.
#pragma once

#include <cmath>

#include "simd/products.h"
#include "siren/cpu/kernel_table.h"

namespace {

using tcnn_codec::Optimiser;

// Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1) on parameters [first, last); the learning rate
// is in units of scales[i], or of 1 where that is null.
INLINE void adam_step(const Optimiser& state, const float* gradient, float learning_rate,
                      const float* scales, int64_t first, int64_t last) {
  const double t = double(state.steps_done + 1);
  const float rate = float(learning_rate / (1 - pow(double(state.beta1), t)));
  const float correction = float(1 / sqrt(1 - pow(double(state.beta2), t)));
  for (int64_t i = first; i < last; ++i) {
    const float g = gradient[i];
    const float mean = state.mean[i] + (g - state.mean[i]) * (1 - state.beta1);
    const float variance = state.variance[i] * state.beta2 + g * g * (1 - state.beta2);
    state.mean[i] = mean;
    state.variance[i] = variance;
    const float scaled = scales ? rate * scales[i] : rate;
    state.params[i] -= scaled * mean / (sqrtf(variance) * correction + state.epsilon);
  }
}

// x [rows, stride], its `columns` <= rows padded with zeros, becomes about the nearest matrix with
// orthonormal columns: kNewtonSchulzSteps from X / |X|, which move singular values above 1/500 into
// 0.68 to 1.21.
// scratch holds three more such matrices; returns the one of the four that holds the result.
INLINE float* orthogonalise(float* x, int rows, int columns, ptrdiff_t stride, float* scratch) {
  const auto [a, b, c] = tcnn_codec::kNewtonSchulz;
  const int64_t size = rows * stride;
  const int vectors = int(stride / Vec::lanes);
  float *gram = scratch, *polynomial = gram + size, *next = polynomial + size;
  double squares = 0;
  for (int64_t i = 0; i < size; ++i) squares += double(x[i]) * double(x[i]);
  const float scale = float(1 / fmax(sqrt(squares), 1e-7));
  for (int64_t i = 0; i < size; ++i) x[i] *= scale;
  // destination [height, stride] = factor * term + the product.
  const auto combine = [=](const Operands<float>& of, int height, Vec factor, const float* term,
                           float* destination) {
    product<Vec, RowsAre::any>(of, height, vectors, [=](auto& block) {
      block.each([=](int m, int n, Vec sum) {
        const ptrdiff_t at = m * stride + n * Vec::lanes;
        multiply_add(factor, Vec::load(term + at), sum).store(destination + at);
      });
    });
  };
  for (int step = 0; step < tcnn_codec::kNewtonSchulzSteps; ++step) {
    combine({x, 1, stride, x, stride, rows}, columns, Vec::zero(), x, gram);
    for (int64_t i = 0; i < columns * stride; ++i) next[i] = gram[i] * c;
    combine({next, stride, 1, gram, stride, columns}, columns, Vec::set(b), gram, polynomial);
    combine({x, stride, 1, polynomial, stride, columns}, rows, Vec::set(a), x, next);
    float* swap = x;
    x = next;
    next = swap;
  }
  return x;
}

// Every weight w of column c of W goes towards 0, and not beyond, by
// rate * mean|W| / (mean|W_c| + floor * mean|W|). sums holds `columns` floats.
INLINE void shrink(float* params, int rows, int columns, float rate, float floor, float* sums) {
  for (int c = 0; c < columns; ++c) sums[c] = 0;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) sums[c] += fabsf(params[r * columns + c]);
  float all = 0;
  for (int c = 0; c < columns; ++c) all += sums[c];
  const float mean = all / float(columns);
  // Of `rows` weights each: sums stand for means.
  for (int c = 0; c < columns; ++c) sums[c] = mean > 0 ? rate * mean / (sums[c] + floor * mean) : 0;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      float& weight = params[r * columns + c];
      weight = copysignf(fmaxf(fabsf(weight) - sums[c], 0.0f), weight);
    }
}

// Muon with Nesterov momentum on the weight matrix [rows, columns] that begins at parameter
// `first`: the update is the momentum's nearest orthogonal matrix, times sqrt(rows / columns)
// where that is above 1; then the rate term. scratch holds muon_scratch floats.
INLINE void muon_step(const Optimiser& state, const float* gradient, float learning_rate,
                      int64_t first, int rows, int columns, float* scratch) {
  float* momentum = state.mean + first;
  float* params = state.params + first;
  gradient += first;
  const float keep = state.momentum;
  // The longer side goes down the rows.
  const bool wide = columns > rows;
  const int tall = wide ? columns : rows, narrow = wide ? rows : columns;
  const int stride = (narrow + Vec::lanes - 1) / Vec::lanes * Vec::lanes;
  const int row_step = wide ? 1 : stride, column_step = wide ? stride : 1;
  for (int i = 0; i < tall * stride; ++i) scratch[i] = 0;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      const int i = r * columns + c;
      momentum[i] += (gradient[i] - momentum[i]) * (1 - keep);
      scratch[r * row_step + c * column_step] = gradient[i] + (momentum[i] - gradient[i]) * keep;
    }
  const float* update = orthogonalise(scratch, tall, narrow, stride, scratch + tall * stride);
  const float rate = learning_rate * (wide ? 1.0f : sqrtf(float(rows) / float(columns)));
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c)
      params[r * columns + c] -= rate * update[r * row_step + c * column_step];
  shrink(params, rows, columns, learning_rate * state.rate_weight, state.rate_floor, scratch);
}

}  // namespace
