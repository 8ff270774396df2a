#include "simd/int_avx2.h"

#define TCNN_CODEC_ISA avx2
#include "siren/integer/vector_kernel.inl"
