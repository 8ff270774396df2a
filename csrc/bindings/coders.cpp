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

void add(Encoder& encoder, const py::buffer& matrix, bool has_signs) {
  const int32_t* values = checked<int32_t>(matrix, "values", -1, false);
  const py::buffer_info info = matrix.request();
  check_range("rank of values", info.ndim, 2, 2);
  check_matrix(info.shape[0], info.shape[1]);
  const auto [least, most] = std::minmax_element(values, values + info.size);
  check_range("least value", *least, has_signs ? -kLargestMagnitude : 0, kLargestMagnitude);
  check_range("largest value", *most, -kLargestMagnitude, kLargestMagnitude);
  const py::gil_scoped_release release;
  encoder.add(values, info.shape[0], info.shape[1], has_signs);
}

// Keeps the bytes that its decoder reads.
class PythonDecoder {
 public:
  explicit PythonDecoder(py::bytes code) : code_(std::move(code)), decoder_(begin(), size()) {}

  py::array_t<int32_t> take(int64_t rows, int64_t columns, bool has_signs) {
    check_matrix(rows, columns);
    py::array_t<int32_t> matrix({rows, columns});
    int32_t* values = matrix.mutable_data();
    {
      const py::gil_scoped_release release;
      decoder_.take(values, rows, columns, has_signs);
    }
    return matrix;
  }
  size_t taken() const { return decoder_.taken(); }

 private:
  const uint8_t* begin() const {
    return reinterpret_cast<const uint8_t*>(std::string_view(code_).data());
  }
  size_t size() const { return std::string_view(code_).size(); }
  py::bytes code_;
  Decoder decoder_;
};

}  // namespace

PYBIND11_MODULE(_coders, module) {
  module.doc() = "Entropy coders in integers; see csrc/coders for the contract.";
  module.attr("LARGEST_MAGNITUDE") = kLargestMagnitude;
  py::class_<Encoder>(module, "Encoder", "Codes matrices one after another.")
      .def(py::init<>())
      .def("add", &add, py::arg("values"), py::arg("has_signs"),
           "values: int32 [rows, columns], magnitudes up to LARGEST_MAGNITUDE, none negative "
           "without signs.")
      .def(
          "finish", [](Encoder& encoder) { return py::bytes(encoder.finish()); },
          "The shortest code of all; the encoder begins anew.");
  py::class_<PythonDecoder>(module, "Decoder", "Takes matrices from a code, in their order.")
      .def(py::init<py::bytes>(), py::arg("code"))
      .def("take", &PythonDecoder::take, py::arg("rows"), py::arg("columns"), py::arg("has_signs"),
           "The next int32 [rows, columns]; ValueError on a magnitude above LARGEST_MAGNITUDE.")
      .def_property_readonly("taken", &PythonDecoder::taken,
                             "Bytes taken so far, zeros behind the end included.");
}
