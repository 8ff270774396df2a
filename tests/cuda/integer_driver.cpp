// Evaluates networks in integers with the CUDA kernels on the CPU, without Python, so that
// sanitizers can watch. Reads cases from standard input, and writes the samples of each.

#include <exception>

#include "../integer/cases.h"
#include "siren/cuda/integer.cu"

int main() try {
  using namespace tcnn_codec;
  ReadCase given;
  while (given.read()) {
    std::vector<char> workspace(cuda::integer_workspace(given.network.shape, given.grid.size));
    std::vector<uint8_t> out(given.samples());
    cuda::render_integers(0, cuda::device_info(0), given.network, given.grid, workspace.data(),
                          out.data(), nullptr);
    std::fwrite(out.data(), 1, out.size(), stdout);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
