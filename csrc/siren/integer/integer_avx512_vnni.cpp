#include "simd/int_avx512.h"

#define TCNN_CODEC_ISA avx512_vnni
#include "siren/integer/vector_kernel.inl"
