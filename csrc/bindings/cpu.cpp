// The Python module tcnn_codec._cpu: checks every array against the contract in siren/contract.h,
// then calls it without the interpreter lock.

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "bindings/siren_shape.h"
#include "simd/peak.h"

namespace py = pybind11;
using namespace tcnn_codec;

namespace {

EncodedGrid make_grid(const SirenShape& shape, const std::vector<py::buffer>& encodings) {
  check_range("number of encodings", int64_t(encodings.size()), shape.axes, shape.axes);
  EncodedGrid grid{{nullptr, nullptr, nullptr}, {1, 1, 1}};
  for (size_t a = 0; a < encodings.size(); ++a) {
    const int64_t size = length(encodings[a]) / shape.features;
    check_range("axis size", size, 1, (int64_t(1) << 31) - 1);
    grid.values[a] = checked<float>(encodings[a], "encoding", size * shape.features, false);
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
  }
  // Every entry that the batches read, or all where those are fewer.
  void check(const std::vector<Batch>& batches) const {
    if (!values) return;
    int64_t reads = 0;
    for (const Batch& batch : batches) reads += batch.count;
    uint32_t largest = 0;
    if (reads >= size)
      for (int64_t i = 0; i < size; ++i) largest = std::max(largest, values[i]);
    else
      for (const Batch& batch : batches)
        for (int64_t i = 0, at = batch.start; i < batch.count; ++i) {
          largest = std::max(largest, values[at]);
          at += batch.stride;
          if (at >= size) at -= size;
        }
    check_range("largest pixel index", largest, 0, pixels - 1);
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
                     const std::optional<py::buffer>& indices, const py::buffer& gradient) {
  const EncodedGrid grid = make_grid(shape, encodings);
  const float* p = checked<float>(params, "params", shape.parameter_count(), false);
  const Target wanted = make_target(shape, grid, target);
  const Order order(grid, indices);
  const Batch batch = order.batch(0, 1, order.size);
  order.check({batch});
  float* g = checked<float>(gradient, "gradient", shape.parameter_count(), true);
  const py::gil_scoped_release release;
  return siren.loss_and_grad(shape, p, grid, wanted, batch, g);
}

void fit_steps(Siren& siren, const SirenShape& shape, const py::buffer& params,
               const py::buffer& mean, const py::buffer& variance, int64_t step, float beta1,
               float beta2, float epsilon, float momentum, float rate_weight, float rate_floor,
               const std::vector<py::buffer>& encodings, const py::buffer& target,
               const std::optional<py::buffer>& pixel_order,
               const std::vector<std::pair<int64_t, int64_t>>& starts_and_strides, int64_t count,
               const py::buffer& learning_rates, const std::optional<py::buffer>& scales,
               const py::buffer& losses) {
  const EncodedGrid grid = make_grid(shape, encodings);
  const int64_t parameters = shape.parameter_count();
  Optimiser state{checked<float>(params, "params", parameters, true),
                  checked<float>(mean, "mean", parameters, true),
                  checked<float>(variance, "variance", parameters, true),
                  step,
                  beta1,
                  beta2,
                  epsilon,
                  momentum,
                  rate_weight,
                  rate_floor};
  const Target wanted = make_target(shape, grid, target);
  const Order order(grid, pixel_order);
  std::vector<Batch> batches;
  for (const auto& [start, stride] : starts_and_strides)
    batches.push_back(order.batch(start, stride, count));
  order.check(batches);
  const auto steps = int64_t(batches.size());
  const float* rates = checked<float>(learning_rates, "learning_rates", steps, false);
  const float* scale = scales ? checked<float>(*scales, "scales", parameters, false) : nullptr;
  double* found = checked<double>(losses, "losses", steps, true);
  const py::gil_scoped_release release;
  siren.fit_steps(shape, state, grid, wanted, batches, rates, scale, found);
}

}  // namespace

PYBIND11_MODULE(_cpu, module) {
  module.doc() = "Fused SIREN kernels for the CPU; see csrc/siren/contract.h for the contract.";
  module.attr("compiler") = TCNN_CODEC_COMPILER;
  module.def("available_isas", &available_isas,
             "Instruction sets of this build that this machine runs, best first.");
  module.def("has_bfloat16", &has_bfloat16, py::arg("isa"),
             "Whether this machine can train in bfloat16 with that instruction set.");
  module.def("fma_peak", &fma_peak, py::arg("isa"), py::arg("seconds"), py::arg("bfloat16"),
             py::call_guard<py::gil_scoped_release>(),
             "1e9 multiply-adds per second of one thread, from registers alone.");
  module.attr("MAX_WIDTH") = kMostWidth;
  module.attr("newton_schulz") =
      py::make_tuple(kNewtonSchulz[0], kNewtonSchulz[1], kNewtonSchulz[2], kNewtonSchulzSteps);

  bind_shape(module);

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
           "Fills gradient; returns the mean squared error over indices (None: all pixels).")
      .def(
          "fit_steps", &fit_steps, py::arg("shape"), py::arg("params"), py::arg("mean"),
          py::arg("variance"), py::arg("step"), py::arg("beta1"), py::arg("beta2"),
          py::arg("epsilon"), py::arg("momentum"), py::arg("rate_weight"), py::arg("rate_floor"),
          py::arg("encodings"), py::arg("target"), py::arg("order"), py::arg("starts_and_strides"),
          py::arg("count"), py::arg("learning_rates"), py::arg("scales"), py::arg("losses"),
          "One step of the optimiser per (start, stride): the batch order[(start + stride * i) % "
          "size] for "
          "i < count. Changes params, mean and variance; fills losses, float64 [steps]. With "
          "scales, float32 like params or None, Adam moves weights too, learning rates in units of "
          "each one's.");
}
