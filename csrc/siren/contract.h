// The native contract of the SIREN: shapes, layouts and functions.
//
// Pixels are ordered frame, row, column.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tcnn_codec {

#ifdef __CUDACC__
#define TCNN_CODEC_SHARED __host__ __device__
#else
#define TCNN_CODEC_SHARED
#endif

// Neurons of a hidden layer, at most.
constexpr int kMostWidth = 128;

// A network, and where its parameters lie in one flat float32 vector: of each layer the weight
// [rows, columns], row-major, then the bias [rows]; the input layer first.
struct SirenShape {
  int axes;           // 2 (x, y) or 3 (x, y, t)
  int features;       // encoded features of x, y and, but for time_features, t: 1 + 2L
  int hidden_layers;  // sine layers after the input layer
  int width;          // 1 to kMostWidth
  int out_channels;   // 1, 3 or 4
  float w0;
  int time_features = 0;  // encoded features of t; 0: as many as of the other axes
  int codes = 0;          // of t's features the last so many, which are learned for each frame

  TCNN_CODEC_SHARED int features_of(int axis) const {
    return axis == 2 && time_features ? time_features : features;
  }
  // The first of an axis' columns of the input layer's weights.
  TCNN_CODEC_SHARED int first_input(int axis) const { return axis * features; }
  TCNN_CODEC_SHARED int inputs() const { return first_input(axes - 1) + features_of(axes - 1); }
  TCNN_CODEC_SHARED int layers() const { return hidden_layers + 2; }
  TCNN_CODEC_SHARED int rows(int layer) const {
    return layer == hidden_layers + 1 ? out_channels : width;
  }
  TCNN_CODEC_SHARED int columns(int layer) const { return layer == 0 ? inputs() : width; }
  TCNN_CODEC_SHARED int weight(int layer) const {
    if (layer == 0) return 0;
    return width * (inputs() + 1) + (layer - 1) * width * (width + 1);
  }
  TCNN_CODEC_SHARED int bias(int layer) const {
    return weight(layer) + rows(layer) * columns(layer);
  }
  TCNN_CODEC_SHARED int parameter_count() const { return bias(layers() - 1) + out_channels; }
};

// Of Muon's orthogonalisation (Jordan et al., 2024): X <- a X + X (b G + c G^2), G = X^T X.
constexpr float kNewtonSchulz[3] = {3.4445f, -4.7750f, 2.0315f};
constexpr int kNewtonSchulzSteps = 5;

// The separable sampling grid: for each axis in the order x, y, t its encoding
// [size, features_of(axis)].
struct EncodedGrid {
  const float* values[3];
  int64_t size[3];  // 1 for an axis the model does not have

  int64_t pixels() const { return size[0] * size[1] * size[2]; }
};

// What a gradient is taken of, [pixels, out_channels]. Exactly one is set: what the output should
// look like, 8-bit, where v stands for v * 2 / 255 - 1, or float as it is; or the gradient of any
// loss by the output, which is then carried back to the parameters.
struct Target {
  const uint8_t* u8 = nullptr;
  const float* f32 = nullptr;
  const float* output_gradient = nullptr;
};

// Which pixels a step sees: entry i is order[(start + stride * i) % order_size],
// or (start + i) where order is null. Every index must be below EncodedGrid::pixels().
struct Batch {
  const uint32_t* order = nullptr;
  int64_t order_size = 0;
  int64_t start = 0;
  int64_t stride = 1;
  int64_t count = 0;
};

struct OptimiserConstants {
  float beta1, beta2, epsilon;  // Adam's
  float momentum;               // Muon's
  float rate_weight;            // of the rate term on weights, per unit of learning rate
  float rate_floor;             // of a tensor's mean magnitude, added to a column's
};

// State of the optimiser, each [parameter_count]: Muon (Jordan et al., 2024) on weights, Adam
// (Kingma & Ba, arXiv 1412.6980) on biases.
struct Optimiser : OptimiserConstants {
  float* params;
  float* mean;          // Adam's first moment, Muon's momentum
  float* variance;      // Adam's second moment; unused by Muon
  const float* scales;  // of the learning rates, or null; see Siren::fit_steps
  int64_t steps_done;
};

// Instruction sets this build and this machine both have, best first. Beside them there is always
// "amx_emulated", which computes what "amx" does, very slowly, to be tested.
std::vector<std::string> available_isas();

// Whether training in bfloat16 is available on one of them.
bool has_bfloat16(const std::string& isa);

// One instruction set, one set of threads, one workspace that is reused from call to call.
// Results do not depend on the number of threads. Calls from several threads wait for each other.
class Siren {
 public:
  // isa: one of available_isas(). bfloat16: training rounds the operands of products between
  // layers to bfloat16, summed in float32; only for isas that can. Throws std::invalid_argument
  // for what this machine lacks, std::system_error where so many threads cannot be started.
  Siren(const std::string& isa, int threads, bool bfloat16);
  ~Siren();

  const std::string& isa() const;
  int threads() const;
  bool bfloat16() const;

  // Network output at every grid point, [pixels, out_channels]: as it is, or as 8-bit pixels
  // clamp(round((y + 1) * 127.5), 0, 255).
  void evaluate(const SirenShape& shape, const float* params, const EncodedGrid& grid, float* out);
  void evaluate(const SirenShape& shape, const float* params, const EncodedGrid& grid,
                uint8_t* out);

  // Mean squared error over the batch, and its gradient [parameter_count]; of an output gradient
  // (Target), the product of the network's transposed Jacobian with it, and no error.
  // code_gradient, unless null: [frames, codes], the gradient by the encoding's codes.
  double loss_and_grad(const SirenShape& shape, const float* params, const EncodedGrid& grid,
                       const Target& target, const Batch& batch, float* gradient,
                       float* code_gradient);

  // One loss_and_grad and one step of the optimiser per batch; losses [batches] are those before
  // each step. With state.scales, Adam moves weights too, without the rate term, and learning
  // rates are in units of the parameter's scale; one of scale 0 stays as it is. code_gradient: of
  // the last step, as in loss_and_grad.
  void fit_steps(const SirenShape& shape, Optimiser& state, const EncodedGrid& grid,
                 const Target& target, const std::vector<Batch>& batches,
                 const float* learning_rates, double* losses, float* code_gradient);

 private:
  struct Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace tcnn_codec
