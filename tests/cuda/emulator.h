// Runs CUDA kernels on the CPU, for tests: their sources, compiled by g++ as C++17, with one fibre
// per CUDA thread and one OS thread for all of them. A fibre runs until it waits; then the one of
// highest priority among those that can run goes on. A thread that gets far ahead of the others
// is what shows a missing barrier, so try several orders of priority (emulator::options()).
//
// Waiting is possible only in the functions below: a loop that waits for another thread's store
// never ends. A launch throws std::runtime_error on deadlock, on divergence (lanes of a warp at
// different collectives, threads of a block at different barriers) and on misuse.
// ThreadSanitizer takes each CUDA thread for a thread, ordered with others by what follows only;
// AddressSanitizer knows the bounds of shared memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "machine.h"

#if !defined(__FLT16_MANT_DIG__)
#error "the CUDA emulator needs _Float16: g++ 12 on x86-64 with SSE2, g++ 13 elsewhere"
#endif

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __noinline__ __attribute__((noinline))

#define threadIdx (emulator::running->index)
#define blockIdx (emulator::running->block->index)
#define blockDim (emulator::current->block)
#define gridDim (emulator::current->grid)

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emulator {

// Fibres that ThreadSanitizer is given where a launch has more threads than run at once: each takes
// it most of a megabyte.
constexpr size_t kSeenThreads = 1024;

// 0 to count - 1, who goes first in front.
inline std::vector<unsigned> priorities(unsigned count) {
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (options().order == Options::reverse) std::reverse(order.begin(), order.end());
  if (options().order == Options::random)
    std::shuffle(order.begin(), order.end(), current->generator);
  return order;
}

using Fibres = std::vector<std::unique_ptr<Context>>;

// All threads of these blocks, ready to run, on fibres from `first` on.
inline void set_up(const std::vector<unsigned>& indices, const Fibres& fibres, size_t first) {
  Launch& launch = *current;
  const unsigned count = unsigned(indices.size()), warps = launch.block.x / kLanes;
  launch.live = size_t(count) * launch.block.x;
  launch.threads.assign(launch.live, {});
  launch.warps.assign(count * warps, {});
  launch.blocks = std::vector<Block>(count);
  launch.by_rank.clear();
  launch.ready.assign((count * warps + 63) / 64, 0);
  for (unsigned i = 0; i < count; ++i) {
    Block& block = launch.blocks[i];
    block.index = {indices[i], 0, 0};
    const size_t bytes = launch.shared_bytes;
    block.shared.reset(static_cast<char*>(::operator new(bytes, std::align_val_t(16))));
    std::memset(block.shared.get(), 0xff, bytes);
    block.warps = &launch.warps[i * warps];
    block.warp_count = warps;
    block.live = launch.block.x;
  }
  for (const unsigned which : priorities(count * warps)) {
    Warp& warp = launch.warps[which];
    warp.rank = unsigned(launch.by_rank.size());
    launch.by_rank.push_back(&warp);
    warp.live = kAllLanes;
    set_ready(warp, kAllLanes);
    unsigned place = 0;
    for (const unsigned lane : priorities(kLanes)) {
      const size_t number = which * kLanes + lane;
      Thread& thread = launch.threads[number];
      thread.context = fibres[(first + number) % fibres.size()].get();
      thread.index = {which % warps * kLanes + lane, 0, 0};
      thread.lane = lane;
      thread.warp = &warp;
      thread.block = &launch.blocks[which / warps];
      thread.bit = uint32_t(1) << place;
      warp.threads[place++] = &thread;
    }
  }
}

inline void run(const std::function<void()>& body, unsigned blocks, unsigned threads,
                size_t shared_bytes, bool cooperative) {
  static Fibres fibres;  // for this launch and those to come
  if (current) throw std::runtime_error("a kernel cannot launch a kernel");
  if (blocks < 1 || threads < kLanes || threads > 1024 || threads % kLanes)
    throw std::runtime_error("no such launch: " + std::to_string(blocks) + " blocks of " +
                             std::to_string(threads) + " threads; these must be whole warps");
  Unseen unseen;
  struct Reset {
    ~Reset() { current = nullptr, running = nullptr; }
  } reset;
  Launch launch;
  launch.body = body;
  launch.grid = {blocks, 1, 1};
  launch.block = {threads, 1, 1};
  launch.shared_bytes = shared_bytes;
  launch.generator.seed(options().seed);
  current = &launch;
  const std::vector<unsigned> sequence = priorities(blocks);
  const size_t total = size_t(blocks) * threads;
  size_t least = cooperative ? total : threads;
  // ThreadSanitizer sees a race between blocks if their threads are not on the same fibre.
  if (kThreadSanitizer) least = std::max(least, std::min(total, kSeenThreads));
  while (fibres.size() < least)
    fibres.push_back(std::make_unique<Context>(run_threads, fibres.size()));
  void* const host = launch.host.thread();
  for (const auto& fibre : fibres) order(host, fibre->thread());
  size_t first = 0;
  for (size_t i = 0; i < blocks && !launch.failure; i += cooperative ? blocks : 1) {
    const std::vector<unsigned> now =
        cooperative ? sequence : std::vector<unsigned>(1, sequence[i]);
    set_up(now, fibres, first);
    if (kThreadSanitizer) first += launch.threads.size();
    running = nullptr;
    go_on();
  }
  for (const auto& fibre : fibres) order(fibre->thread(), host);
  if (launch.failure) {
    fibres.clear();  // which have stopped anywhere
    std::rethrow_exception(launch.failure);
  }
}

// Runs kernel(arguments...) in all threads; cooperative: all blocks at once, otherwise one after
// the other. Throws what a thread throws, std::runtime_error on the faults above. `blocks` at least
// 1, `threads` of a block 32 to 1024 in whole warps.
template <class... P, class... A>
void launch(void (*kernel)(P...), unsigned blocks, unsigned threads, size_t shared_bytes,
            bool cooperative, A... arguments) {
  const std::tuple<P...> values(arguments...);
  run([&] { std::apply(kernel, values); }, blocks, threads, shared_bytes, cooperative);
}

// Of every float16 by its bits.
inline const std::vector<float> half_values = [] {
  std::vector<float> values(0x10000);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = uint16_t(i);
    _Float16 half;
    std::memcpy(&half, &bits, sizeof half);
    values[i] = float(half);
  }
  return values;
}();

template <class T>
T exchange(const Site& site, T value, unsigned source) {
  struct Payload {
    T value, result;
    unsigned source;
  } mine{value, value, source};
  warp_collective(site, options().collectives_order_memory, mine, [](auto at) {
    for (unsigned lane = 0; lane < kLanes; ++lane) at(lane).result = at(at(lane).source).value;
  });
  return mine.result;
}

// d [16, 8] += a [16, kInner] b [kInner, 8], in fragments: lane 4g + t holds columns (of a, d) or
// rows (of b) 2t, 2t + 1 of row (a, d) or column (b) g; further registers are 8 rows down, then 8
// columns on. Sums in double, in which products are exact, and rounds once, when they are added.
template <int kInner>
void multiply(const Site& site, float (&d)[4], const uint32_t (&a)[kInner / 4],
              const uint32_t (&b)[kInner / 8]) {
  struct Payload {
    float* d;
    const uint32_t *a, *b;
  } mine{d, a, b};
  warp_collective(site, options().collectives_order_memory, mine, [](auto at) {
    typedef double Row __attribute__((vector_size(64)));
    const float* values = half_values.data();
    double left[16][kInner];
    Row right[kInner];
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const Payload& from = at(lane);
      const unsigned group = lane / 4, pair = lane % 4 * 2;
      for (unsigned i = 0; i < kInner / 4; ++i) {
        double* place = &left[group + i % 2 * 8][pair + i / 2 * 8];
        place[0] = double(values[from.a[i] & 0xffff]);
        place[1] = double(values[from.a[i] >> 16]);
      }
      for (unsigned i = 0; i < kInner / 8; ++i) {
        right[pair + i * 8][group] = double(values[from.b[i] & 0xffff]);
        right[pair + i * 8 + 1][group] = double(values[from.b[i] >> 16]);
      }
    }
    for (unsigned row = 0; row < 16; ++row) {
      Row sum = left[row][0] * right[0];
      for (unsigned k = 1; k < kInner; ++k) sum += left[row][k] * right[k];
      for (unsigned column = 0; column < 8; ++column) {
        float& place = at(row % 8 * 4 + column / 2).d[row / 8 * 2 + column % 2];
        place = float(double(place) + sum[column]);
      }
    }
  });
}

inline void load(const Site& site, bool transposed, uint32_t (&d)[4], const void* row) {
  struct Payload {
    uint16_t row[8];
    uint32_t* d;
    bool transposed;
  } mine{{}, d, transposed};
  const uintptr_t address = reinterpret_cast<uintptr_t>(row);
  const uintptr_t shared = reinterpret_cast<uintptr_t>(running->block->shared.get());
  if (address % 16) fail(site.text() + " needs rows at multiples of 16 bytes");
  if (address < shared || address + 16 > shared + current->shared_bytes)
    fail(site.text() + " needs rows in this block's shared memory");
  // Here and not below: it is this thread that reads.
  std::memcpy(mine.row, row, sizeof mine.row);
  warp_collective(site, options().collectives_order_memory, mine, [](auto at) {
    for (unsigned lane = 0; lane < kLanes; ++lane)
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned m = lane / 4, n = lane % 4 * 2;
        const bool t = at(lane).transposed;
        const uint32_t low = t ? at(8 * i + n).row[m] : at(8 * i + m).row[n];
        const uint32_t high = t ? at(8 * i + n + 1).row[m] : at(8 * i + m).row[n + 1];
        at(lane).d[i] = low | high << 16;
      }
  });
}

}  // namespace emulator

// This block's dynamic shared memory, all bits set at first: what nobody wrote is NaN.
inline char* shared_memory() { return emulator::running->block->shared.get(); }

// __syncthreads(), __syncwarp(), and both for `blocks` blocks that pass the same state.
inline void block_barrier(const emulator::Site& site = emulator::here("block_barrier")) {
  emulator::barrier(site, nullptr, 1);
}

inline void group_barrier(unsigned* state, unsigned blocks,
                          const emulator::Site& site = emulator::here("group_barrier")) {
  emulator::barrier(site, state, blocks);
}

inline void warp_barrier(const emulator::Site& site = emulator::here("warp_barrier")) {
  int nothing = 0;
  if (!emulator::skipped(site)) emulator::warp_collective(site, true, nothing, [](auto) {});
}

inline float shuffle_xor(float value, int lane_mask,
                         const emulator::Site& site = emulator::here("shuffle_xor")) {
  return emulator::exchange(site, value, emulator::running->lane ^ unsigned(lane_mask));
}
inline unsigned shuffle_xor(unsigned value, int lane_mask,
                            const emulator::Site& site = emulator::here("shuffle_xor")) {
  return emulator::exchange(site, value, emulator::running->lane ^ unsigned(lane_mask));
}
inline float shuffle(float value, int source_lane,
                     const emulator::Site& site = emulator::here("shuffle")) {
  return emulator::exchange(site, value, unsigned(source_lane));
}
inline uint32_t shuffle(uint32_t value, int source_lane,
                        const emulator::Site& site = emulator::here("shuffle")) {
  return emulator::exchange(site, value, unsigned(source_lane));
}
inline uint64_t shuffle(uint64_t value, int source_lane,
                        const emulator::Site& site = emulator::here("shuffle")) {
  return emulator::exchange(site, value, unsigned(source_lane));
}

// mma.sync.aligned.m16n8k16 and .m16n8k8 .row.col.f32.f16.f16.f32.
inline void mma_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                      const emulator::Site& site = emulator::here("mma_16816")) {
  emulator::multiply<16>(site, d, a, {b0, b1});
}
inline void mma_1688(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0,
                     const emulator::Site& site = emulator::here("mma_1688")) {
  emulator::multiply<8>(site, d, {a0, a1}, {b0});
}

// cp.async.cg.shared.global of 16 bytes, which arrive as late as may be, and cp.async.wait_all.
inline void copy_async(void* to, const void* from) {
  emulator::Unseen unseen;  // ThreadSanitizer is to see the copies, not the list of them
  emulator::running->copies.push_back({to, from});
}
inline void copies_arrive(const emulator::Site& site = emulator::here("copies_arrive")) {
  if (emulator::skipped(site)) return;
  std::vector<emulator::Copy>& copies = emulator::running->copies;
  for (size_t i = 0; i < copies.size(); ++i) {
    const emulator::Copy copy = [&] {
      emulator::Unseen unseen;
      return copies[i];
    }();
    std::memcpy(copy.to, copy.from, 16);
  }
  emulator::Unseen unseen;
  copies.clear();
}

// ldmatrix.sync.aligned.m8n8.x4.shared.b16, and .trans.
inline void load_matrices(uint32_t (&d)[4], const void* row,
                          const emulator::Site& site = emulator::here("load_matrices")) {
  emulator::load(site, false, d, row);
}
inline void load_matrices_transposed(
    uint32_t (&d)[4], const void* row,
    const emulator::Site& site = emulator::here("load_matrices_transposed")) {
  emulator::load(site, true, d, row);
}

// low in the lower 16 bits, both rounded to nearest, ties to even, infinite from 65520 on.
inline uint32_t pack_half2(float low, float high) {
  const _Float16 halves[2] = {static_cast<_Float16>(low), static_cast<_Float16>(high)};
  uint32_t pair;
  std::memcpy(&pair, halves, sizeof pair);
  return pair;
}

inline float2 unpack_half2(uint32_t pair) {
  return {emulator::half_values[pair & 0xffff], emulator::half_values[pair >> 16]};
}

// Rounded once.
inline void sine_cosine(float phase, float& sine, float& cosine) {
  sine = float(std::sin(double(phase)));
  cosine = float(std::cos(double(phase)));
}
