// The SIREN's shape and its optimiser's constants, as both of its Python modules take them.
#pragma once

#include "bindings/check.h"
#include "siren/contract.h"

namespace tcnn_codec {

inline SirenShape make_shape(int axes, int features, int hidden_layers, int width, int out_channels,
                             float w0, int time_features, int codes) {
  check_range("axes", axes, 2, 3);
  check_range("features", features, 1, 1 << 10);
  check_range("hidden_layers", hidden_layers, 0, 1 << 10);
  check_range("width", width, 1, kMostWidth);
  if (out_channels != 1 && out_channels != 3 && out_channels != 4)
    throw pybind11::value_error("out_channels is " + std::to_string(out_channels) +
                                "; allowed are 1, 3 and 4");
  check_range("time_features", time_features, 0, axes == 3 ? 1 << 10 : 0);
  check_range("codes", codes, 0, time_features);
  return {axes, features, hidden_layers, width, out_channels, w0, time_features, codes};
}

// Each module has types of its own.
inline void bind_types(pybind11::module_& module) {
  namespace py = pybind11;
  py::class_<SirenShape>(module, "SirenShape", py::module_local())
      .def(py::init(&make_shape), py::kw_only(), py::arg("axes"), py::arg("features"),
           py::arg("hidden_layers"), py::arg("width"), py::arg("out_channels"), py::arg("w0"),
           py::arg("time_features") = 0, py::arg("codes") = 0)
      .def_property_readonly("parameter_count", &SirenShape::parameter_count);
  py::class_<OptimiserConstants>(module, "OptimiserConstants", py::module_local())
      .def(py::init([](float beta1, float beta2, float epsilon, float momentum, float rate_weight,
                       float rate_floor) {
             return OptimiserConstants{beta1, beta2, epsilon, momentum, rate_weight, rate_floor};
           }),
           py::kw_only(), py::arg("beta1"), py::arg("beta2"), py::arg("epsilon"),
           py::arg("momentum"), py::arg("rate_weight"), py::arg("rate_floor"));
}

}  // namespace tcnn_codec
