// The native contract of evaluation in integers on a GPU, of docs/format.md, section 8. Networks
// and encodings are the host's, samples and workspace lie in device memory.
#pragma once

#include <cstdint>

#include "siren/cuda/runtime.h"
#include "siren/integer/contract.h"

namespace tcnn_codec {
namespace cuda {

// Bytes of workspace to render a grid of these sizes.
size_t integer_workspace(const SirenShape& shape, const int64_t (&size)[3]);

// Samples at every grid point, out [pixels, out_channels]. info: of `device`. Throws DeviceError,
// and as check_integers. What it was given has been read when it returns; the device may be still
// at work.
void render_integers(int device, const DeviceInfo& info, const IntegerNetwork& network,
                     const IntegerGrid& grid, char* workspace, uint8_t* out, Stream stream);

}  // namespace cuda
}  // namespace tcnn_codec
