#include "simd/int_neon.h"

#define TCNN_CODEC_ISA neon
#include "siren/integer/vector_kernel.inl"
