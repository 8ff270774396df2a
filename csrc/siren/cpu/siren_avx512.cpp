#include "simd/vec_avx512.h"

#define TCNN_CODEC_ISA avx512
#include "siren/cpu/siren_kernel.inl"
