#include "simd/vec_scalar.h"

#define TCNN_CODEC_ISA scalar
#include "siren/cpu/siren_kernel.inl"
