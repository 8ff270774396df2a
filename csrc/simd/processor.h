// What the processor can do, and the operating system lets it: CPUID and XGETBV, asked once.
#pragma once

#include <string>

#ifdef TCNN_CODEC_X86
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace tcnn_codec {

// Who made the processor, in the twelve letters of CPUID; empty where there is no CPUID.
inline std::string processor_vendor() {
#ifdef TCNN_CODEC_X86
  unsigned most = 0, words[3] = {};
  if (__get_cpuid(0, &most, &words[0], &words[2], &words[1])) {
    return std::string(reinterpret_cast<const char*>(words), sizeof words);
  }
#endif
  return "";
}

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

// Why tiles of bfloat16 cannot be used beside that; null where they can. Asks the operating system
// to let this process use them, once.
inline const char* why_no_amx() {
  static const char* const reason = []() -> const char* {
#ifndef TCNN_CODEC_AMX
    return "this build lacks AMX, which takes GCC 11 or Clang 11";
#else
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || !(d >> 22 & 1))
      return "this processor lacks AMX_BF16";
    if (!has_avx512_bfloat16()) return "this processor has AMX without AVX512_BF16";
#ifdef __linux__
    constexpr long request_permission = 0x1023, tile_data = 18;
    if (syscall(SYS_arch_prctl, request_permission, tile_data) == 0) return nullptr;
#endif
    return "the operating system does not let this process use AMX";
#endif
  }();
  return reason;
}

#else
inline const char* why_no_amx() { return "this processor lacks AMX_BF16"; }
#endif

inline bool has_amx() { return !why_no_amx(); }

}  // namespace tcnn_codec
