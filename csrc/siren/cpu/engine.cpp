// Orchestrates the kernels: packs the network, cuts the batch into slices, hands them to the
// threads and adds up their gradients in a fixed order.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "simd/thread_pool.h"
#include "siren/contract.h"
#include "siren/cpu/dispatch.h"

namespace tcnn_codec {
namespace {

constexpr double kPi = 3.14159265358979323846;
// A slice is the unit of summation, so its size may depend on the batch but never on the number
// of threads. 16 tiles outweigh clearing and adding up a slice's sums; as many threads work as
// there are slices: 8 on a batch of 8,192 pixels, 32 at most. Powers of two share out evenly.
constexpr int64_t kLeastTilesPerSlice = 16;
constexpr int64_t kMostSlices = 32;
constexpr int64_t kTableRowsPerTask = 64;
constexpr int64_t kPixelsPerEvaluateTask = 64 * kTile;
constexpr int64_t kSumsPerTask = 8192;

// Cache-line aligned floats that grow and are reused.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  float* need(int64_t floats) {
    if (floats > size_) {
      std::free(data_);
      data_ = nullptr;
      size_ = 0;
      const size_t bytes = (size_t(floats) * sizeof(float) + 63) / 64 * 64;
      data_ = static_cast<float*>(std::aligned_alloc(64, bytes));
      if (!data_) throw std::bad_alloc();
      size_ = floats;
    }
    return data_;
  }
  float* data() const { return data_; }

 private:
  float* data_ = nullptr;
  int64_t size_ = 0;
};

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Where each part of the packed network, or of a slice's sums, begins.
struct Layout {
  Layout(const SirenShape& shape, const EncodedGrid& grid, int lanes)
      : stride(int(round_up(shape.width, lanes))) {
    const int64_t hidden = shape.hidden_layers;
    for (int a = 0; a < 3; ++a) table_floats[a] = (a < shape.axes ? grid.size[a] : 0) * stride;
    for (int a = 0; a < shape.axes; ++a) first[a] = int64_t(shape.first_input(a)) * stride;
    first_floats = int64_t(shape.inputs()) * stride;
    hidden_floats = hidden * shape.width * stride;
    bias_floats = hidden * stride;
    tables = table_floats[0] + table_floats[1] + table_floats[2];
    sums = round_up(hidden_floats + bias_floats + kOut * stride + tables + kOut, lanes);
  }

  int stride;
  int64_t first[3] = {0, 0, 0};  // where an axis' part of the input layer's weights begins
  int64_t first_floats, hidden_floats, bias_floats, table_floats[3], tables;
  int64_t sums;  // floats of one slice's GradientSums

  GradientSums view(float* memory) const {
    GradientSums view{};
    view.hidden = memory;
    view.bias = view.hidden + hidden_floats;
    view.output = view.bias + bias_floats;
    view.table[0] = view.output + kOut * stride;
    view.table[1] = view.table[0] + table_floats[0];
    view.table[2] = view.table[1] + table_floats[1];
    view.output_bias = view.table[2] + table_floats[2];
    return view;
  }
};

int slices_of(int64_t tiles) {
  int slices = 1;
  while (slices < kMostSlices && 2 * slices * kLeastTilesPerSlice <= tiles) slices *= 2;
  return slices;
}

// destination [columns, stride] = factor source [rows, columns]^T, padding left as it is.
void transpose(const float* source, double factor, int rows, int columns, int stride,
               float* destination) {
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c)
      destination[int64_t(c) * stride + r] = float(factor * source[int64_t(r) * columns + c]);
}

// Biases in half-turns, less whole turns: their rounding shifts every pixel alike, and is the
// smaller the smaller they are.
void scale_bias(const float* source, double half_turns, int width, float* destination) {
  for (int i = 0; i < width; ++i)
    destination[i] = float(std::remainder(half_turns * double(source[i]), 2.0));
}

// To nearest, ties to even; parameters are finite.
uint32_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Rows 2k and 2k + 1 of source [rows, columns] as row k of destination [pairs, words], which is
// zeros to begin with.
void pair_rows(const float* source, int64_t rows, int64_t columns, int64_t words,
               Pair* destination) {
  for (int64_t r = 0; r < rows; r += 2)
    for (int64_t c = 0; c < columns; ++c) {
      const uint32_t low = to_bfloat16(source[r * columns + c]);
      const uint32_t high = r + 1 < rows ? to_bfloat16(source[(r + 1) * columns + c]) : 0;
      destination[r / 2 * words + c] = {low | high << 16};
    }
}

}  // namespace

struct Siren::Engine {
  Engine(const std::string& name, int threads, bool bfloat16)
      : kernels(kernels_for(name)),
        bfloat16(bfloat16 ? &bfloat16_kernels_for(name) : nullptr),
        isa(name),
        pool(threads) {
    scratch = std::vector<Buffer>(size_t(pool.threads()));
  }

  const KernelTable& kernels;
  const Bfloat16Kernels* bfloat16;  // null in float32
  std::string isa;
  ThreadPool pool;
  std::mutex busy;  // one call at a time uses the buffers
  Buffer packed, packed_pairs, tables, sums, total, first_gradient, gradient;
  std::vector<Buffer> scratch;

  int lanes() const { return std::max(kernels.lanes, bfloat16 ? bfloat16->lanes : 0); }

  PackedNet pack(const SirenShape& shape, const float* params, const EncodedGrid& grid,
                 const Layout& layout) {
    const int width = shape.width, stride = layout.stride;
    const int64_t first = layout.first_floats;
    const int64_t floats = first + 2 * layout.hidden_floats + layout.bias_floats + stride +
                           int64_t(width) * kOut + kOut * stride + kOut;
    float* memory = packed.need(floats);
    std::memset(memory, 0, size_t(floats) * sizeof(float));

    float* input = memory;
    float* input_bias = input + first;
    float* forward = input_bias + stride;
    float* backward = forward + layout.hidden_floats;
    float* bias = backward + layout.hidden_floats;
    float* output_backward = bias + layout.bias_floats;
    float* output_forward = output_backward + kOut * stride;
    float* output_bias = output_forward + int64_t(width) * kOut;

    const double half_turns = double(shape.w0) / kPi;
    const int output = shape.layers() - 1;
    transpose(params, half_turns, width, shape.inputs(), stride, input);
    scale_bias(params + shape.bias(0), half_turns, width, input_bias);
    for (int layer = 0; layer < shape.hidden_layers; ++layer) {
      const float* weight = params + shape.weight(layer + 1);
      const int64_t at = int64_t(layer) * width * stride;
      transpose(weight, half_turns, width, width, stride, forward + at);
      for (int r = 0; r < width; ++r)
        for (int c = 0; c < width; ++c)
          backward[at + int64_t(r) * stride + c] = shape.w0 * weight[r * width + c];
      scale_bias(params + shape.bias(layer + 1), half_turns, width, bias + int64_t(layer) * stride);
    }
    const float* last = params + shape.weight(output);
    transpose(last, 1, shape.out_channels, width, kOut, output_forward);
    for (int c = 0; c < shape.out_channels; ++c)
      std::memcpy(output_backward + c * stride, last + c * width, sizeof(float) * size_t(width));
    std::memcpy(output_bias, params + shape.bias(output),
                sizeof(float) * size_t(shape.out_channels));

    PackedNet net{};
    net.shape = shape;
    net.stride = stride;
    net.forward = forward;
    net.backward = backward;
    net.bias = bias;
    net.output_forward = output_forward;
    net.output_backward = output_backward;
    net.output_bias = output_bias;
    if (bfloat16) pack_pairs(net);
    float* table = tables.need(layout.tables);
    for (int a = 0; a < 3; ++a) {
      net.axis_size[a] = grid.size[a];
      net.table[a] = table;
      table += layout.table_floats[a];
    }
    build_tables(shape, grid, layout, input, input_bias);
    return net;
  }

  void pack_pairs(PackedNet& net) {
    const int64_t layers = net.shape.hidden_layers, width = net.shape.width, stride = net.stride;
    const int64_t depth = bfloat16->depth, out_words = bfloat16->out_words;
    const int64_t pairs = round_up(width, depth) / 2, out_pairs = round_up(kOut, depth) / 2;
    const int64_t layer_words = pairs * stride;
    const int64_t words = 2 * layers * layer_words + pairs * out_words + out_pairs * stride;
    Pair* memory = reinterpret_cast<Pair*>(packed_pairs.need(words));
    std::memset(memory, 0, size_t(words) * sizeof(Pair));
    Pair* forward = memory;
    Pair* backward = forward + layers * layer_words;
    Pair* output_forward = backward + layers * layer_words;
    Pair* output_backward = output_forward + pairs * out_words;
    for (int64_t layer = 0; layer < layers; ++layer) {
      const int64_t from = layer * width * stride, to = layer * layer_words;
      pair_rows(net.forward + from, width, stride, stride, forward + to);
      pair_rows(net.backward + from, width, stride, stride, backward + to);
    }
    pair_rows(net.output_forward, width, kOut, out_words, output_forward);
    pair_rows(net.output_backward, kOut, stride, stride, output_backward);
    net.forward_pairs = forward;
    net.backward_pairs = backward;
    net.output_forward_pairs = output_forward;
    net.output_backward_pairs = output_backward;
  }

  void build_tables(const SirenShape& shape, const EncodedGrid& grid, const Layout& layout,
                    const float* input, const float* input_bias) {
    int64_t tasks[3] = {0, 0, 0}, all = 0;
    for (int a = 0; a < shape.axes; ++a) {
      tasks[a] = (grid.size[a] + kTableRowsPerTask - 1) / kTableRowsPerTask;
      all += tasks[a];
    }
    pool.run(all, [&](int64_t task, int) {
      int a = 0;
      float* table = tables.data();
      for (; task >= tasks[a]; ++a) {
        task -= tasks[a];
        table += layout.table_floats[a];
      }
      const int64_t row = task * kTableRowsPerTask;
      kernels.build_table(grid.values[a], row, std::min(row + kTableRowsPerTask, grid.size[a]),
                          shape.features_of(a), input + layout.first[a],
                          a == 0 ? input_bias : nullptr, layout.stride, table);
    });
  }

  void evaluate(const SirenShape& shape, const float* params, const EncodedGrid& grid, float* f32,
                uint8_t* u8) {
    const Layout layout(shape, grid, lanes());
    const PackedNet net = pack(shape, params, grid, layout);
    for (Buffer& buffer : scratch) buffer.need(kernels.evaluate_scratch(net));
    const int64_t pixels = grid.pixels();
    pool.run((pixels + kPixelsPerEvaluateTask - 1) / kPixelsPerEvaluateTask,
             [&](int64_t task, int thread) {
               const int64_t first = task * kPixelsPerEvaluateTask;
               kernels.evaluate(net, first, std::min(first + kPixelsPerEvaluateTask, pixels),
                                scratch[size_t(thread)].data(), f32, u8);
             });
  }

  double loss_and_grad(const SirenShape& shape, const float* params, const EncodedGrid& grid,
                       const Target& target, const Batch& batch, float* out, float* code_gradient) {
    const Layout layout(shape, grid, lanes());
    const PackedNet net = pack(shape, params, grid, layout);
    const int64_t tile = bfloat16 ? bfloat16->tile : kTile;
    const int64_t tiles = (batch.count + tile - 1) / tile;
    const int slices = slices_of(tiles);
    float* memory = sums.need(slices * layout.sums);
    std::vector<const float*> sources;
    for (int s = 0; s < slices; ++s) sources.push_back(memory + s * layout.sums);
    std::vector<double> squared_errors(size_t(slices), 0.0);
    const auto train = bfloat16 ? bfloat16->train : kernels.train;
    const auto train_scratch = bfloat16 ? bfloat16->train_scratch : kernels.train_scratch;
    for (Buffer& buffer : scratch) buffer.need(train_scratch(net));

    pool.run(slices, [&](int64_t slice, int thread) {
      float* mine = memory + slice * layout.sums;
      std::memset(mine, 0, size_t(layout.sums) * sizeof(float));
      GradientSums view = layout.view(mine);
      const int64_t first = tiles * slice / slices * tile;
      const int64_t last = std::min(tiles * (slice + 1) / slices * tile, batch.count);
      train(net, target, batch, first, last, scratch[size_t(thread)].data(), view);
      squared_errors[size_t(slice)] = view.squared_error;
    });

    float* summed = total.need(layout.sums);
    pool.run((layout.sums + kSumsPerTask - 1) / kSumsPerTask, [&](int64_t task, int) {
      const int64_t first = task * kSumsPerTask;
      kernels.sum_slices(summed, sources.data(), slices, first,
                         std::min(first + kSumsPerTask, layout.sums));
    });
    const double values = double(batch.count) * shape.out_channels;
    const double mean = target.output_gradient ? 1 : 2 / values;
    unpack_gradient(shape, grid, layout, layout.view(summed), mean, out);
    if (code_gradient)
      carry_to_codes(shape, params, grid.size[2], layout, layout.view(summed), mean, code_gradient);
    double squared_error = 0;
    for (const double part : squared_errors) squared_error += part;
    return squared_error / values;
  }

  // One step of every parameter. Layers are independent, so they go to the threads.
  void optimise(const SirenShape& shape, const Optimiser& state, const float* gradient,
                float rate) {
    int64_t scratch_floats = 0;
    for (int l = 0; l < shape.layers(); ++l)
      scratch_floats =
          std::max(scratch_floats, kernels.muon_scratch(shape.rows(l), shape.columns(l)));
    for (Buffer& buffer : scratch) buffer.need(scratch_floats);
    pool.run(shape.layers(), [&](int64_t task, int thread) {
      const int layer = int(task), rows = shape.rows(layer), bias = shape.bias(layer);
      kernels.muon(state, gradient, rate, shape.weight(layer), rows, shape.columns(layer),
                   scratch[size_t(thread)].data());
      kernels.adam(state, gradient, rate, nullptr, bias, bias + rows);
    });
  }

  // From padded sums over pixels to the flat gradient of the mean.
  void unpack_gradient(const SirenShape& shape, const EncodedGrid& grid, const Layout& layout,
                       const GradientSums& summed, double mean, float* out) {
    const int width = shape.width, stride = layout.stride;
    const double inner = mean * shape.w0;
    float* first = first_gradient.need(layout.first_floats);
    pool.run(shape.axes, [&](int64_t a, int) {
      kernels.contract_table(grid.values[a], grid.size[a], shape.features_of(int(a)),
                             summed.table[a], stride, first + layout.first[a]);
    });
    const int inputs = shape.inputs();
    for (int r = 0; r < width; ++r)
      for (int c = 0; c < inputs; ++c)
        *out++ = float(inner * double(first[int64_t(c) * stride + r]));
    std::vector<double> bias(size_t(width), 0.0);
    for (int64_t row = 0; row < grid.size[0]; ++row)
      for (int c = 0; c < width; ++c) bias[size_t(c)] += double(summed.table[0][row * stride + c]);
    for (int c = 0; c < width; ++c) *out++ = float(inner * bias[size_t(c)]);

    for (int layer = 0; layer < shape.hidden_layers; ++layer) {
      const float* weight = summed.hidden + int64_t(layer) * width * stride;
      for (int r = 0; r < width; ++r)
        for (int c = 0; c < width; ++c) *out++ = float(inner * double(weight[r * stride + c]));
      for (int c = 0; c < width; ++c)
        *out++ = float(inner * double(summed.bias[layer * stride + c]));
    }
    for (int r = 0; r < shape.out_channels; ++r)
      for (int c = 0; c < width; ++c) *out++ = float(mean * double(summed.output[r * stride + c]));
    for (int c = 0; c < shape.out_channels; ++c)
      *out++ = float(mean * double(summed.output_bias[c]));
  }

  // The gradient by the codes of every frame: its sums of delta, times the codes' weights.
  void carry_to_codes(const SirenShape& shape, const float* params, int64_t frames,
                      const Layout& layout, const GradientSums& summed, double mean, float* out) {
    const int inputs = shape.inputs(), first = inputs - shape.codes;
    for (int64_t frame = 0; frame < frames; ++frame) {
      std::fill_n(out, shape.codes, 0.0f);
      const float* delta = summed.table[2] + frame * layout.stride;
      for (int r = 0; r < shape.width; ++r) {
        const float scaled = float(mean * shape.w0 * double(delta[r]));
        const float* weight = params + int64_t(r) * inputs + first;
        for (int c = 0; c < shape.codes; ++c) out[c] += scaled * weight[c];
      }
      out += shape.codes;
    }
  }
};

Siren::Siren(const std::string& isa, int threads, bool bfloat16)
    : engine_(std::make_unique<Engine>(isa, threads, bfloat16)) {}
Siren::~Siren() = default;

const std::string& Siren::isa() const { return engine_->isa; }
int Siren::threads() const { return engine_->pool.threads(); }
bool Siren::bfloat16() const { return engine_->bfloat16 != nullptr; }

void Siren::evaluate(const SirenShape& shape, const float* params, const EncodedGrid& grid,
                     float* out) {
  const std::lock_guard<std::mutex> lock(engine_->busy);
  engine_->evaluate(shape, params, grid, out, nullptr);
}

void Siren::evaluate(const SirenShape& shape, const float* params, const EncodedGrid& grid,
                     uint8_t* out) {
  const std::lock_guard<std::mutex> lock(engine_->busy);
  engine_->evaluate(shape, params, grid, nullptr, out);
}

double Siren::loss_and_grad(const SirenShape& shape, const float* params, const EncodedGrid& grid,
                            const Target& target, const Batch& batch, float* gradient,
                            float* code_gradient) {
  const std::lock_guard<std::mutex> lock(engine_->busy);
  return engine_->loss_and_grad(shape, params, grid, target, batch, gradient, code_gradient);
}

void Siren::fit_steps(const SirenShape& shape, Optimiser& state, const EncodedGrid& grid,
                      const Target& target, const std::vector<Batch>& batches,
                      const float* learning_rates, double* losses, float* code_gradient) {
  const std::lock_guard<std::mutex> lock(engine_->busy);
  const int64_t count = shape.parameter_count();
  float* gradient = engine_->gradient.need(count);
  for (size_t i = 0; i < batches.size(); ++i) {
    losses[i] = engine_->loss_and_grad(shape, state.params, grid, target, batches[i], gradient,
                                       i + 1 == batches.size() ? code_gradient : nullptr);
    if (state.scales)
      engine_->kernels.adam(state, gradient, learning_rates[i], state.scales, 0, count);
    else
      engine_->optimise(shape, state, gradient, learning_rates[i]);
    ++state.steps_done;
  }
}

}  // namespace tcnn_codec
