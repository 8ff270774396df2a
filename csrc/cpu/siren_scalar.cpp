#include "vec_scalar.h"

#define TCNN_CODEC_ISA scalar
#include "siren_kernel.inl"
