// What every Python module checks alike: ranges, and arrays by the buffer protocol.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace tcnn_codec {

inline void check_range(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most)
    throw pybind11::value_error(std::string(name) + " is " + std::to_string(value) +
                                "; allowed are " + std::to_string(least) + " to " +
                                std::to_string(most));
}

// A contiguous array of T with `size` elements, by the buffer protocol.
template <class T>
T* checked(const pybind11::buffer& buffer, const char* name, int64_t size, bool writable) {
  const pybind11::buffer_info info = buffer.request(writable);
  if (!info.item_type_is_equivalent_to<T>())
    throw pybind11::type_error(std::string(name) + " has buffer format '" + info.format +
                               "'; expected '" + pybind11::format_descriptor<T>::format() +
                               "'; convert it with numpy.asarray(..., dtype)");
  int64_t expected_stride = info.itemsize;
  for (pybind11::ssize_t d = info.ndim; d-- > 0;) {
    if (info.shape[size_t(d)] > 1 && info.strides[size_t(d)] != expected_stride)
      throw pybind11::value_error(std::string(name) +
                                  " is not C-contiguous; pass numpy.ascontiguousarray of it");
    expected_stride *= info.shape[size_t(d)];
  }
  if (size >= 0 && info.size != size)
    throw pybind11::value_error(std::string(name) + " has " + std::to_string(info.size) +
                                " elements; expected " + std::to_string(size));
  return static_cast<T*>(info.ptr);
}

inline int64_t length(const pybind11::buffer& buffer) { return buffer.request().size; }

}  // namespace tcnn_codec
