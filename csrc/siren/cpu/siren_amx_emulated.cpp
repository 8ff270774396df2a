// The kernels of siren_amx.cpp in plain C++, to be tested where there is no AMX.

#define TCNN_CODEC_TILE 64
#define TCNN_CODEC_AMX_EMULATED
#include "simd/bfloat16_plain.h"
//
#include "siren/cpu/tile_products.h"
//
#include "siren/cpu/siren_bfloat16.inl"

namespace tcnn_codec {

const Bfloat16Kernels& amx_emulated_kernels() { return bfloat16_kernels; }

}  // namespace tcnn_codec
