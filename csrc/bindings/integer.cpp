// Checks every array against the contract in siren/integer/contract.h, then calls it without the
// interpreter lock.

#include "bindings/integer.h"

#include <pybind11/stl.h>

#include "bindings/integer_types.h"

namespace py = pybind11;

namespace tcnn_codec {
namespace {

void render(IntegerSiren& siren, const SirenShape& shape, const py::buffer& values,
            const py::buffer& multipliers, const std::vector<py::buffer>& axes,
            const py::buffer& out) {
  const IntegerNetwork network = integer_network(shape, values, multipliers);
  const IntegerGrid grid = integer_grid(shape, axes);
  uint8_t* samples = checked<uint8_t>(out, "out", grid.pixels() * shape.out_channels, true);
  const py::gil_scoped_release release;
  siren.render(network, grid, samples);
}

}  // namespace

void bind_integers(py::module_& module) {
  module.def("integer_isas", &integer_isas,
             "Instruction sets for evaluation in integers that this machine runs, best first.");
  module.def("integer_peak", &integer_peak, py::arg("isa"), py::arg("seconds"),
             py::call_guard<py::gil_scoped_release>(),
             "1e9 multiply-adds of int16 per second of one thread, from registers alone.");
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
