#include "simd/int_avx512.h"

#define TCNN_CODEC_ISA avx512
#include "siren/integer/vector_kernel.inl"
