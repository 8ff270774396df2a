// Evaluation in integers, as the Python module tcnn_codec._cpu has it.
#pragma once

#include <pybind11/pybind11.h>

namespace tcnn_codec {

void bind_integers(pybind11::module_& module);

}  // namespace tcnn_codec
