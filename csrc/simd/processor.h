// What the processor can do, and the operating system lets it: CPUID and XGETBV, asked once.
#pragma once

namespace tcnn_codec {

#ifdef TCNN_CODEC_X86
inline bool has_sse41() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sse4.1");
}

// AVX2 with fused multiply-add.
inline bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// AVX-512 F, DQ and VL.
inline bool has_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

// Operations on bytes and words beside that.
inline bool has_avx512_words() { return has_avx512() && __builtin_cpu_supports("avx512bw"); }

// Products of pairs of int16 beside that.
inline bool has_avx512_vnni() { return has_avx512_words() && __builtin_cpu_supports("avx512vnni"); }

// Products of pairs of bfloat16 instead.
inline bool has_avx512_bfloat16() {
  return has_avx512_words() && __builtin_cpu_supports("avx512bf16");
}
#endif

}  // namespace tcnn_codec
