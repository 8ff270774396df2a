// The Python module _cuda_emulated: csrc/bindings/cuda.cpp over kernels that run on the CPU, and
// what a test may choose: the schedule, a barrier to leave out, the device that is played.

#include "bindings/cuda.cpp"
#include "siren/cuda/engine.cu"
#include "siren/cuda/integer.cu"

PYBIND11_MODULE(_cuda_emulated, module) {
  bind_cuda(module);
  py::enum_<emulator::Options::Order>(module, "Order")
      .value("forward", emulator::Options::forward)
      .value("reverse", emulator::Options::reverse)
      .value("random", emulator::Options::random);
  module.def(
      "schedule",
      [](emulator::Options::Order order, unsigned seed) {
        emulator::options().order = order;
        emulator::options().seed = seed;
      },
      py::arg("order"), py::arg("seed") = 0);
  module.def(
      "play",
      [](int multiprocessors, size_t shared_bytes) {
        cuda::emulated_device().multiprocessors = multiprocessors;
        cuda::emulated_device().shared_bytes = shared_bytes;
      },
      py::arg("multiprocessors") = 4, py::arg("shared_bytes") = 227 << 10);
}
