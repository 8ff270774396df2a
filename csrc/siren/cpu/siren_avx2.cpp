#include "simd/vec_avx2.h"

#define TCNN_CODEC_ISA avx2
#include "siren/cpu/siren_kernel.inl"
