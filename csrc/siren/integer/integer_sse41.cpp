#include "simd/int_sse41.h"

#define TCNN_CODEC_ISA sse41
#include "siren/integer/vector_kernel.inl"
