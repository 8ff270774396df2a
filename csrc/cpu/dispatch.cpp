#include "dispatch.h"

#include <stdexcept>

namespace tcnn_codec {
namespace {

#ifdef TCNN_CODEC_X86
// These builtins also ask the operating system (XGETBV) whether it saves the registers.
bool has_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
#endif

std::vector<const KernelTable*> supported() {
  std::vector<const KernelTable*> found;
#ifdef TCNN_CODEC_X86
  if (has_avx512()) found.push_back(&avx512_kernels());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    found.push_back(&avx2_kernels());
#endif
  found.push_back(&scalar_kernels());
  return found;
}

}  // namespace

bool has_bfloat16(const std::string& isa) {
#ifdef TCNN_CODEC_BFLOAT16
  return isa == "avx512" && has_avx512() && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512bf16");
#else
  (void)isa;
  return false;
#endif
}

const Bfloat16Kernels& bfloat16_kernels_for(const std::string& isa) {
#ifdef TCNN_CODEC_BFLOAT16
  if (has_bfloat16(isa)) return avx512_bfloat16_kernels();
#endif
  throw std::invalid_argument("precision bfloat16 is not available on CPU instruction set '" + isa +
                              "' here; allowed is avx512 on a processor with AVX512_BF16; leave "
                              "--precision out, or give --precision float32");
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const KernelTable* table : supported()) names.emplace_back(table->isa);
  return names;
}

const KernelTable& kernels_for(const std::string& isa) {
  std::string names;
  for (const KernelTable* table : supported()) {
    if (isa == table->isa) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->isa);
  }
  throw std::invalid_argument("CPU instruction set '" + isa +
                              "' is not available; this machine and build have " + names +
                              "; choose one of them, or none for the best");
}

}  // namespace tcnn_codec
