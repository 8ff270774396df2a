// Chooses the kernels at run time, by what the processor and the operating system support.
#pragma once

#include <string>

#include "kernel_table.h"

namespace tcnn_codec {

// Throws std::invalid_argument, naming what there is, for an isa that is unknown or unsupported.
const KernelTable& kernels_for(const std::string& isa);

}  // namespace tcnn_codec
