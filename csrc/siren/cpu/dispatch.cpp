#include "siren/cpu/dispatch.h"

#include <stdexcept>

#include "simd/processor.h"

namespace tcnn_codec {
namespace {

std::vector<const KernelTable*> supported() {
  std::vector<const KernelTable*> found;
#ifdef TCNN_CODEC_X86
  if (has_avx512()) found.push_back(&avx512_kernels());
  if (has_avx2()) found.push_back(&avx2_kernels());
#endif
  found.push_back(&scalar_kernels());
  return found;
}

}  // namespace

bool has_bfloat16(const std::string& isa) {
#ifdef TCNN_CODEC_BFLOAT16
  return isa == "avx512" && has_avx512_bfloat16();
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
                              "`precision` out, or choose 'float32'");
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
