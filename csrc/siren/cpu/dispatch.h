// Chooses the kernels at run time, by what the processor and the operating system support.
#pragma once

#include <string>

#include "siren/cpu/kernel_table.h"

namespace tcnn_codec {

// Throws std::invalid_argument, naming what there is, for an isa that is unknown or unsupported.
const KernelTable& kernels_for(const std::string& isa);

// Training in bfloat16 beside those kernels; throws std::invalid_argument where has_bfloat16 is
// false.
const Bfloat16Kernels& bfloat16_kernels_for(const std::string& isa);

}  // namespace tcnn_codec
