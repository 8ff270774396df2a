#include "siren/cpu/dispatch.h"

#include <stdexcept>

#include "simd/processor.h"

namespace tcnn_codec {
namespace {

constexpr const char* kEmulated = "amx_emulated";

struct InstructionSet {
  const char* name;
  const KernelTable* kernels;
};

std::vector<InstructionSet> supported() {
  std::vector<InstructionSet> found;
#ifdef TCNN_CODEC_AMX
  if (has_amx()) found.push_back({"amx", &avx512_kernels()});
#endif
#ifdef TCNN_CODEC_X86
  if (has_avx512()) found.push_back({"avx512", &avx512_kernels()});
  if (has_avx2()) found.push_back({"avx2", &avx2_kernels()});
#endif
  found.push_back({"scalar", &scalar_kernels()});
  return found;
}

const Bfloat16Kernels* find_bfloat16(const std::string& isa) {
#ifdef TCNN_CODEC_AMX
  if (isa == "amx" && has_amx()) return &amx_kernels();
#endif
#ifdef TCNN_CODEC_BFLOAT16
  if (isa == "avx512" && has_avx512_bfloat16()) return &avx512_bfloat16_kernels();
#endif
  return isa == kEmulated ? &amx_emulated_kernels() : nullptr;
}

}  // namespace

bool has_bfloat16(const std::string& isa) { return find_bfloat16(isa) != nullptr; }

const Bfloat16Kernels& bfloat16_kernels_for(const std::string& isa) {
  if (const Bfloat16Kernels* found = find_bfloat16(isa)) return *found;
  throw std::invalid_argument("precision bfloat16 is not available on CPU instruction set '" + isa +
                              "' here; allowed are amx, and avx512 on a processor with "
                              "AVX512_BF16; leave `precision` out, or choose 'float32'");
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const InstructionSet& one : supported()) names.emplace_back(one.name);
  return names;
}

const KernelTable& kernels_for(const std::string& isa) {
  if (isa == kEmulated) return scalar_kernels();
  std::string names;
  for (const InstructionSet& one : supported()) {
    if (isa == one.name) return *one.kernels;
    names += (names.empty() ? "" : ", ") + std::string(one.name);
  }
  throw std::invalid_argument("CPU instruction set '" + isa +
                              "' is not available; this machine and build have " + names +
                              "; choose one of them, or none for the best");
}

}  // namespace tcnn_codec
