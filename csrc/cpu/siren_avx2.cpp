#include "vec_avx2.h"

#define TCNN_CODEC_ISA avx2
#include "siren_kernel.inl"
