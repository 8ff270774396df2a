// The Python module tcnn_codec._coders: checks every array against the contract in
// coders/binary_coder.h, then calls it without the interpreter lock.

#include <pybind11/numpy.h>

#include <algorithm>
#include <string_view>

#include "bindings/check.h"
#include "coders/binary_coder.h"

namespace py = pybind11;
using namespace tcnn_codec;

namespace {

constexpr int64_t kMostValues = int64_t(1) << 24;

void check_matrix(int64_t rows, int64_t columns) {
  check_range("rows", rows, 1, kMostValues);
  check_range("columns", columns, 1, kMostValues);
  check_range("rows * columns", rows * columns, 1, kMostValues);
}

py::bytes encode_matrix(const py::buffer& matrix) {
  const int32_t* values = checked<int32_t>(matrix, "values", -1, false);
  const py::buffer_info info = matrix.request();
  check_range("rank of values", info.ndim, 2, 2);
  check_matrix(info.shape[0], info.shape[1]);
  const auto [least, most] = std::minmax_element(values, values + info.size);
  check_range("least value", *least, -kLargestMagnitude, kLargestMagnitude);
  check_range("largest value", *most, -kLargestMagnitude, kLargestMagnitude);
  std::string code;
  {
    const py::gil_scoped_release release;
    code = encode_binary(values, info.shape[0], info.shape[1]);
  }
  return code;
}

py::array_t<int32_t> decode_matrix(const py::bytes& code, int64_t rows, int64_t columns) {
  check_matrix(rows, columns);
  const std::string_view bytes = code;
  py::array_t<int32_t> matrix({rows, columns});
  int32_t* values = matrix.mutable_data();
  {
    const py::gil_scoped_release release;
    decode_binary(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), rows, columns,
                  values);
  }
  return matrix;
}

}  // namespace

PYBIND11_MODULE(_coders, module) {
  module.doc() = "Entropy coders in integers; see csrc/coders for the contract.";
  module.attr("LARGEST_MAGNITUDE") = kLargestMagnitude;
  module.def("encode_binary", &encode_matrix, py::arg("values"),
             "The binarised code of values, int32 [rows, columns], magnitudes up to "
             "LARGEST_MAGNITUDE.");
  module.def("decode_binary", &decode_matrix, py::arg("code"), py::arg("rows"), py::arg("columns"),
             "The int32 [rows, columns] of a binarised code; ValueError on a magnitude above "
             "LARGEST_MAGNITUDE.");
}
