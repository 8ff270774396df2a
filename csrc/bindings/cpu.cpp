// The Python module tcnn_codec._cpu: checks every array against the contract in siren/contract.h,
// then calls it without the interpreter lock.

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "bindings/integer.h"
#include "bindings/siren_types.h"
#include "simd/peak.h"
#include "simd/processor.h"

namespace py = pybind11;
using namespace tcnn_codec;

namespace {

EncodedGrid make_grid(const SirenShape& shape, const std::vector<py::buffer>& encodings) {
  check_range("number of encodings", int64_t(encodings.size()), shape.axes, shape.axes);
  EncodedGrid grid{{nullptr, nullptr, nullptr}, {1, 1, 1}};
  for (size_t a = 0; a < encodings.size(); ++a) {
    const int64_t features = shape.features_of(int(a)), size = length(encodings[a]) / features;
    check_range("axis size", size, 1, (int64_t(1) << 31) - 1);
    grid.values[a] = checked<float>(encodings[a], "encoding", size * features, false);
    grid.size[a] = size;
    check_range("pixels", grid.pixels(), 1, (int64_t(1) << 32) - 1);
  }
  return grid;
}

Target make_target(const SirenShape& shape, const EncodedGrid& grid, const py::buffer& target) {
  const int64_t size = grid.pixels() * shape.out_channels;
  Target found;
  if (target.request().item_type_is_equivalent_to<uint8_t>())
    found.u8 = checked<uint8_t>(target, "target", size, false);
  else
    found.f32 = checked<float>(target, "target", size, false);
  return found;
}

// Null where none is wanted.
float* code_gradient_of(const SirenShape& shape, const EncodedGrid& grid,
                        const std::optional<py::buffer>& gradient) {
  if (!gradient) return nullptr;
  return checked<float>(*gradient, "code_gradient", grid.size[2] * shape.codes, true);
}

// Pixel indices; null stands for all pixels in order.
struct Order {
  const uint32_t* values = nullptr;
  int64_t size, pixels;
  Order(const EncodedGrid& grid, const std::optional<py::buffer>& order)
      : size(grid.pixels()), pixels(grid.pixels()) {
    if (!order) return;
    values = checked<uint32_t>(*order, "order", -1, false);
    size = length(*order);
    check_range("length of order", size, 1, (int64_t(1) << 32) - 1);
    check_range("largest pixel index", *std::max_element(values, values + size), 0, pixels - 1);
  }
  Batch batch(int64_t start, int64_t stride, int64_t count) const {
    check_range("start", start, 0, size - 1);
    check_range("stride", stride, 1, values ? size : 1);
    check_range("count", count, 1, values ? (int64_t(1) << 32) - 1 : size - start);
    return {values, size, start, stride == size ? 0 : stride, count};
  }
};

void evaluate(Siren& siren, const SirenShape& shape, const py::buffer& params,
              const std::vector<py::buffer>& encodings, const py::buffer& out) {
  const EncodedGrid grid = make_grid(shape, encodings);
  const float* p = checked<float>(params, "params", shape.parameter_count(), false);
  const int64_t size = grid.pixels() * shape.out_channels;
  if (out.request().item_type_is_equivalent_to<uint8_t>()) {
    uint8_t* pixels = checked<uint8_t>(out, "out", size, true);
    const py::gil_scoped_release release;
    siren.evaluate(shape, p, grid, pixels);
  } else {
    float* values = checked<float>(out, "out", size, true);
    const py::gil_scoped_release release;
    siren.evaluate(shape, p, grid, values);
  }
}

double loss_and_grad(Siren& siren, const SirenShape& shape, const py::buffer& params,
                     const std::vector<py::buffer>& encodings, const py::buffer& target,
                     const std::optional<py::buffer>& indices, const py::buffer& gradient,
                     const std::optional<py::buffer>& code_gradient) {
  const EncodedGrid grid = make_grid(shape, encodings);
  const float* p = checked<float>(params, "params", shape.parameter_count(), false);
  const Target wanted = make_target(shape, grid, target);
  const Order order(grid, indices);
  const Batch batch = order.batch(0, 1, order.size);
  float* g = checked<float>(gradient, "gradient", shape.parameter_count(), true);
  float* codes = code_gradient_of(shape, grid, code_gradient);
  const py::gil_scoped_release release;
  return siren.loss_and_grad(shape, p, grid, wanted, batch, g, codes);
}

void vjp(Siren& siren, const SirenShape& shape, const py::buffer& params,
         const std::vector<py::buffer>& encodings, const py::buffer& output_gradient,
         const py::buffer& gradient, const std::optional<py::buffer>& code_gradient) {
  const EncodedGrid grid = make_grid(shape, encodings);
  const float* p = checked<float>(params, "params", shape.parameter_count(), false);
  Target given;
  given.output_gradient =
      checked<float>(output_gradient, "output_gradient", grid.pixels() * shape.out_channels, false);
  const Batch batch = Order(grid, std::nullopt).batch(0, 1, grid.pixels());
  float* g = checked<float>(gradient, "gradient", shape.parameter_count(), true);
  float* codes = code_gradient_of(shape, grid, code_gradient);
  const py::gil_scoped_release release;
  siren.loss_and_grad(shape, p, grid, given, batch, g, codes);
}

// A network being fitted: its arrays are checked once and held, and steps change them in place.
class Trainer {
 public:
  Trainer(py::object siren, const SirenShape& shape, std::vector<py::buffer> encodings,
          py::buffer target, const std::optional<py::buffer>& order, py::buffer params,
          py::buffer mean, py::buffer variance, const std::optional<py::buffer>& scales,
          int64_t steps_done, const OptimiserConstants& constants)
      : siren_(siren.cast<Siren&>()),
        shape_(shape),
        grid_(make_grid(shape, encodings)),
        target_(make_target(shape, grid_, target)),
        order_(grid_, order) {
    const int64_t count = shape.parameter_count();
    static_cast<OptimiserConstants&>(state_) = constants;
    state_.params = checked<float>(params, "params", count, true);
    state_.mean = checked<float>(mean, "mean", count, true);
    state_.variance = checked<float>(variance, "variance", count, true);
    state_.scales = scales ? checked<float>(*scales, "scales", count, false) : nullptr;
    state_.steps_done = steps_done;
    held_ = {std::move(siren), std::move(target), std::move(params), std::move(mean),
             std::move(variance)};
    held_.insert(held_.end(), encodings.begin(), encodings.end());
    if (order) held_.push_back(*order);
    if (scales) held_.push_back(*scales);
  }

  void steps(const std::vector<std::pair<int64_t, int64_t>>& starts_and_strides, int64_t count,
             const py::buffer& learning_rates, const py::buffer& losses,
             const std::optional<py::buffer>& code_gradient) {
    std::vector<Batch> batches;
    for (const auto& [start, stride] : starts_and_strides)
      batches.push_back(order_.batch(start, stride, count));
    const auto steps = int64_t(batches.size());
    const float* rates = checked<float>(learning_rates, "learning_rates", steps, false);
    double* found = checked<double>(losses, "losses", steps, true);
    float* codes = code_gradient_of(shape_, grid_, code_gradient);
    const py::gil_scoped_release release;
    siren_.fit_steps(shape_, state_, grid_, target_, batches, rates, found, codes);
  }

 private:
  Siren& siren_;
  SirenShape shape_;
  EncodedGrid grid_;
  Target target_;
  Order order_;
  Optimiser state_{};
  std::vector<py::object> held_;
};

}  // namespace

PYBIND11_MODULE(_cpu, module) {
  module.doc() = "Fused SIREN kernels for the CPU; see csrc/siren/contract.h for the contract.";
  module.attr("compiler") = TCNN_CODEC_COMPILER;
  module.def("available_isas", &available_isas,
             "Instruction sets of this build that this machine runs, best first.");
  module.def("has_bfloat16", &has_bfloat16, py::arg("isa"),
             "Whether this machine can train in bfloat16 with that instruction set.");
  module.def("processor_vendor", &processor_vendor,
             "Who made the processor, as CPUID has it: AuthenticAMD, say; empty without CPUID.");
  module.def(
      "why_no_amx", [] { return std::string(why_no_amx() ? why_no_amx() : ""); },
      "Why this machine, build or process cannot use AMX; empty where it can.");
  module.def("fma_peak", &fma_peak, py::arg("isa"), py::arg("seconds"), py::arg("bfloat16"),
             py::call_guard<py::gil_scoped_release>(),
             "1e9 multiply-adds per second of one thread, from registers alone.");
  module.attr("MAX_WIDTH") = kMostWidth;
  module.attr("newton_schulz") =
      py::make_tuple(kNewtonSchulz[0], kNewtonSchulz[1], kNewtonSchulz[2], kNewtonSchulzSteps);

  bind_types(module);
  bind_integers(module);

  py::class_<Siren>(module, "Siren")
      .def(py::init([](const std::string& isa, int threads, bool bfloat16) {
             check_range("threads", threads, 1, 1024);
             return std::make_unique<Siren>(isa, threads, bfloat16);
           }),
           py::arg("isa"), py::arg("threads"), py::arg("bfloat16"))
      .def_property_readonly("isa", &Siren::isa)
      .def_property_readonly("threads", &Siren::threads)
      .def_property_readonly("bfloat16", &Siren::bfloat16)
      .def("evaluate", &evaluate, py::arg("shape"), py::arg("params"), py::arg("encodings"),
           py::arg("out"), "Fills out [pixels, out_channels], float32 or uint8.")
      .def("loss_and_grad", &loss_and_grad, py::arg("shape"), py::arg("params"),
           py::arg("encodings"), py::arg("target"), py::arg("indices"), py::arg("gradient"),
           py::arg("code_gradient") = py::none(),
           "Fills gradient and code_gradient [frames, codes]; returns the mean squared error over "
           "indices (None: all pixels).")
      .def("vjp", &vjp, py::arg("shape"), py::arg("params"), py::arg("encodings"),
           py::arg("output_gradient"), py::arg("gradient"), py::arg("code_gradient") = py::none(),
           "Fills gradient with that of a loss whose gradient by the output is given.");

  py::class_<Trainer>(module, "Trainer")
      .def(py::init<py::object, const SirenShape&, std::vector<py::buffer>, py::buffer,
                    const std::optional<py::buffer>&, py::buffer, py::buffer, py::buffer,
                    const std::optional<py::buffer>&, int64_t, const OptimiserConstants&>(),
           py::kw_only(), py::arg("siren"), py::arg("shape"), py::arg("encodings"),
           py::arg("target"), py::arg("order"), py::arg("params"), py::arg("mean"),
           py::arg("variance"), py::arg("scales"), py::arg("steps_done"), py::arg("constants"),
           "Steps change params, mean and variance. With scales, float32 like params or None, Adam "
           "moves weights too, learning rates in units of each one's.")
      .def("steps", &Trainer::steps, py::arg("starts_and_strides"), py::arg("count"),
           py::arg("learning_rates"), py::arg("losses"), py::arg("code_gradient") = py::none(),
           "One step of the optimiser per (start, stride): the batch order[(start + stride * i) % "
           "size] for i < count. Fills losses, float64 [steps], and code_gradient of the last "
           "step.");
}
