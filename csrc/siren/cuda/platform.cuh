// Everything the kernels ask of a GPU, the only place with inline PTX. Without nvcc the same names
// come from a header that runs the kernels on the CPU (tests/cuda/emulator.h).
#pragma once

#include <cstdint>

#define DEVICE __device__ __forceinline__
// For what shares a kernel with the training step, but none of its registers.
#define DEVICE_CALL __device__ __noinline__
#define DEVICE_HOST __host__ __device__ __forceinline__

#ifndef __CUDACC__

#include "emulator.h"

DEVICE_HOST void assume_global(const void*) {}
DEVICE int opaque(int value) { return value; }

DEVICE uint64_t multiply_high(uint64_t a, uint64_t b) {
  return uint64_t((static_cast<unsigned __int128>(a) * b) >> 64);
}

#else

#include <cuda_fp16.h>

// Tells the compiler that a pointer is into device memory: loads through it pass stores to shared
// memory.
DEVICE_HOST void assume_global([[maybe_unused]] const void* pointer) {
#ifdef __CUDA_ARCH__
  __builtin_assume(__isGlobal(pointer));
#endif
}

// The same value, of which the compiler knows nothing: what depends on it is worked out anew in
// every round of a loop instead of being held in registers through all of them.
DEVICE int opaque(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

// This block's dynamic shared memory.
DEVICE char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}

// The upper half of a product.
DEVICE uint64_t multiply_high(uint64_t a, uint64_t b) { return __umul64hi(a, b); }

DEVICE void block_barrier() { __syncthreads(); }

// A barrier for `blocks` blocks that share `state`, which is zero before its first use. Every block
// must be on the device at once. What any of their threads wrote before is visible to all behind.
// Who waits reads relaxed: an acquire in every round would empty the cache that others still use.
DEVICE void group_barrier(unsigned* state, unsigned blocks) {
  __syncthreads();
  if (threadIdx.x == 0) {
    // The topmost bit turns over when the last block is there: it alone adds up to half the range.
    const unsigned half = 0x80000000u;
    const unsigned add = blockIdx.x % blocks == 0 ? half - (blocks - 1) : 1;
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
    const unsigned before = atomicAdd(state, add);
    unsigned now;
    do {
      asm volatile("ld.relaxed.gpu.u32 %0, [%1];" : "=r"(now) : "l"(state) : "memory");
    } while (((now ^ before) & half) == 0);
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
  }
  __syncthreads();
}

DEVICE float shuffle_xor(float value, int lane_mask) {
  return __shfl_xor_sync(0xffffffffu, value, lane_mask);
}

DEVICE uint32_t shuffle(uint32_t value, int source_lane) {
  return __shfl_sync(0xffffffffu, value, source_lane);
}

DEVICE uint64_t shuffle(uint64_t value, int source_lane) {
  return __shfl_sync(0xffffffffu, value, source_lane);
}

// low in the lower 16 bits, both rounded to nearest, ties to even.
DEVICE uint32_t pack_half2(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

DEVICE float2 unpack_half2(uint32_t pair) {
  return __half22float2(*reinterpret_cast<const __half2*>(&pair));
}

// For |phase| < 2^23, less whole turns before the special function unit, which is exact to 2^-20.9
// within one turn: a thirtieth of what rounding to float16 costs. Adding 1.5 * 2^23 rounds to a
// whole number; rintf would go through that same unit.
DEVICE void sine_cosine(float phase, float& sine, float& cosine) {
  const float large = 12582912;
  const float turns = __fadd_rn(__fmaf_rn(phase, 0.15915494f, large), -large);
  const float rest = __fmaf_rn(turns, -6.2831853f, phase);
  sine = __sinf(rest);
  cosine = __cosf(rest);
}

// d += a b for a [16, 16] and b [16, 8] in float16, d [16, 8] in float32, in the fragments of
// mma.sync.m16n8k16 (PTX ISA): lane 4g + t holds d[g][2t, 2t+1], d[g+8][2t, 2t+1].
DEVICE void mma_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b0));
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

// The same for a [16, 8] and b [8, 8].
DEVICE void mma_1688(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(b0));
}

// Copies 16 bytes of device memory to shared memory, past the registers. They are there when this
// thread has come to its next copies_arrive().
DEVICE void copy_async(uint4* to, const uint4* from) {
#if __CUDA_ARCH__ >= 800
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
#else
  *to = *from;
#endif
}

DEVICE void copies_arrive() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Four transposed 8x8 matrices of float16: lane i names row i % 8 of matrix i / 8, 16 bytes of
// shared memory, and receives of each matrix the elements [2 (i % 4), + 1][i / 4].
DEVICE void load_matrices_transposed(uint32_t (&d)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

#endif
