// Checks every array against the contract in siren/integer/contract.h, then calls it without the
// interpreter lock.

#include "bindings/integer.h"

#include <pybind11/stl.h>

#include "bindings/check.h"
#include "siren/integer/contract.h"

namespace py = pybind11;

namespace tcnn_codec {
namespace {

IntegerGrid make_grid(const SirenShape& shape, const std::vector<py::buffer>& axes) {
  check_range("number of axes", int64_t(axes.size()), shape.axes, shape.axes);
  IntegerGrid grid{{nullptr, nullptr, nullptr}, {1, 1, 1}};
  for (size_t a = 0; a < axes.size(); ++a) {
    const int64_t size = length(axes[a]) / shape.features;
    check_range("axis size", size, 1, int64_t(1) << 20);
    grid.values[a] = checked<int16_t>(axes[a], "axis", size * shape.features, false);
    grid.size[a] = size;
    for (int64_t i = 0; i < size * shape.features; ++i)
      check_range("axis", grid.values[a][i], -(1 << 14), 1 << 14);
  }
  check_range("pixels", grid.pixels(), 1, (int64_t(1) << 32) - 1);
  return grid;
}

void render(IntegerSiren& siren, const SirenShape& shape, const py::buffer& values,
            const py::buffer& multipliers, const std::vector<py::buffer>& axes,
            const py::buffer& out) {
  check_range("features", shape.features, 1, kMostFeatures);
  check_range("hidden_layers", shape.hidden_layers, 0, kMostHiddenLayers);
  const IntegerNetwork network{
      shape, checked<int32_t>(values, "values", shape.parameter_count(), false),
      checked<int32_t>(multipliers, "multipliers", 2 * shape.layers(), false)};
  const IntegerGrid grid = make_grid(shape, axes);
  uint8_t* samples = checked<uint8_t>(out, "out", grid.pixels() * shape.out_channels, true);
  const py::gil_scoped_release release;
  siren.render(network, grid, samples);
}

}  // namespace

void bind_integers(py::module_& module) {
  module.def("integer_isas", &integer_isas,
             "Instruction sets for evaluation in integers that this machine runs, best first.");
  py::class_<IntegerSiren>(module, "IntegerSiren")
      .def(py::init([](const std::string& isa, int threads) {
             check_range("threads", threads, 1, 1024);
             return std::make_unique<IntegerSiren>(isa, threads);
           }),
           py::arg("isa"), py::arg("threads"))
      .def_property_readonly("isa", &IntegerSiren::isa)
      .def_property_readonly("threads", &IntegerSiren::threads)
      .def("render", &render, py::arg("shape"), py::arg("values"), py::arg("multipliers"),
           py::arg("axes"), py::arg("out"),
           "Fills out, uint8 [pixels, out_channels], as docs/format.md has it. values: int32, in "
           "the order of the shape's parameters. multipliers: int32 [layers, 2]. axes: int16 "
           "[size, features] each.");
}

}  // namespace tcnn_codec
