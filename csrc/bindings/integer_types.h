// Networks in integers and their grids, as both of the SIREN's Python modules take them.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "bindings/check.h"
#include "siren/integer/contract.h"

namespace tcnn_codec {

inline void check_integer_shape(const SirenShape& shape) {
  check_range("features", shape.features, 1, kMostFeatures);
  check_range("time_features", shape.time_features, 0, kMostFeatures);
  check_range("hidden_layers", shape.hidden_layers, 0, kMostHiddenLayers);
}

inline IntegerNetwork integer_network(const SirenShape& shape, const pybind11::buffer& values,
                                      const pybind11::buffer& multipliers) {
  check_integer_shape(shape);
  return {shape, checked<int32_t>(values, "values", shape.parameter_count(), false),
          checked<int32_t>(multipliers, "multipliers", 2 * shape.layers(), false)};
}

inline IntegerGrid integer_grid(const SirenShape& shape,
                                const std::vector<pybind11::buffer>& axes) {
  check_range("number of axes", int64_t(axes.size()), shape.axes, shape.axes);
  IntegerGrid grid{{nullptr, nullptr, nullptr}, {1, 1, 1}};
  for (size_t a = 0; a < axes.size(); ++a) {
    const int64_t features = shape.features_of(int(a)), size = length(axes[a]) / features;
    check_range("axis size", size, 1, int64_t(1) << 20);
    grid.values[a] = checked<int16_t>(axes[a], "axis", size * features, false);
    grid.size[a] = size;
    for (int64_t i = 0; i < size * features; ++i)
      check_range("axis", grid.values[a][i], -kMostFeature, kMostFeature);
  }
  check_range("pixels", grid.pixels(), 1, (int64_t(1) << 32) - 1);
  return grid;
}

}  // namespace tcnn_codec
