// Arrays in device memory, by DLPack.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace tcnn_codec {

// The structures of DLPack's C interface, version 0 (dmlc.github.io/dlpack/latest/c_api.html).
namespace dlpack {
struct Device {
  int32_t type, id;
};
struct Type {
  uint8_t code, bits;  // code: 0 signed, 1 unsigned, 2 floating point
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t rank;
  Type type;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
constexpr int kCpu = 1, kCuda = 2;
}  // namespace dlpack

#ifdef TCNN_CODEC_EMULATED
constexpr int kDeviceType = dlpack::kCpu;
#else
constexpr int kDeviceType = dlpack::kCuda;
#endif

inline std::string describe(const dlpack::Type& type) {
  const char* names[] = {"int", "uint", "float"};
  return (type.code < 3 ? names[type.code] : "type " + std::to_string(type.code) + " of ") +
         std::to_string(type.bits);
}

// One array in device memory, held until the call that takes it has launched its work.
class Array {
 public:
  explicit Array(const pybind11::object& array) {
    // -1: whoever calls has ordered the stream behind whatever fills the array.
    pybind11::object capsule = kDeviceType == dlpack::kCuda
                                   ? array.attr("__dlpack__")(pybind11::arg("stream") = -1)
                                   : array.attr("__dlpack__")();
    managed_ = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (!managed_) throw pybind11::error_already_set();
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
  }
  ~Array() {
    if (managed_ && managed_->deleter) managed_->deleter(managed_);
  }
  Array(Array&& other) noexcept : managed_(other.managed_) { other.managed_ = nullptr; }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  int64_t size() const {
    int64_t size = 1;
    for (int i = 0; i < tensor().rank; ++i) size *= tensor().shape[i];
    return size;
  }
  bool is(int code, int bits) const {
    return tensor().type.code == code && tensor().type.bits == bits && tensor().type.lanes == 1;
  }

  // Its address as that of `expected` elements of so many bits, float or integer. expected: -1 for
  // any number.
  char* checked(const char* name, int device, bool floating, int bits, int64_t expected) const {
    const auto& found = tensor();
    if (found.device.type != kDeviceType || found.device.id != device)
      throw pybind11::value_error(
          std::string(name) + " is on DLPack device " + std::to_string(found.device.type) + ":" +
          std::to_string(found.device.id) + "; expected " + std::to_string(kDeviceType) + ":" +
          std::to_string(device) + "; move it there");
    if ((found.type.code == 2) != floating || found.type.code > 2 || found.type.bits != bits ||
        found.type.lanes != 1)
      throw pybind11::type_error(std::string(name) + " is " + describe(found.type) + "; expected " +
                                 (floating ? "float" : "int") + std::to_string(bits) +
                                 "; convert it");
    int64_t stride = 1;
    for (int i = found.rank; i-- > 0;) {
      if (found.strides && found.shape[i] > 1 && found.strides[i] != stride)
        throw pybind11::value_error(std::string(name) +
                                    " is not C-contiguous; pass a contiguous copy");
      stride *= found.shape[i];
    }
    if (expected >= 0 && size() != expected)
      throw pybind11::value_error(std::string(name) + " has " + std::to_string(size()) +
                                  " elements; expected " + std::to_string(expected));
    char* data = static_cast<char*>(found.data) + found.byte_offset;
    if (reinterpret_cast<uintptr_t>(data) % 16 && bits > 8)
      throw pybind11::value_error(std::string(name) +
                                  " does not begin at a multiple of 16 bytes; pass a "
                                  "copy");
    return data;
  }

 private:
  const dlpack::Tensor& tensor() const { return managed_->tensor; }
  dlpack::Managed* managed_ = nullptr;
};

}  // namespace tcnn_codec
