// The emulator itself: operations against plain loops, and every fault is found. To be built plain,
// with -fsanitize=address,undefined and with -fsanitize=thread.
#undef NDEBUG
#include <sys/wait.h>
#include <unistd.h>

#include <cassert>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "emulator.h"

using emulator::Options;

// Different races that ThreadSanitizer has reported; it calls this in the midst of a fibre.
static int races = 0;
extern "C" __attribute__((no_sanitize("thread"))) void __tsan_on_report(void*) { ++races; }
extern "C" const char* __tsan_default_options() { return "exitcode=0"; }

namespace {

const Options kOrders[] = {
    {Options::forward}, {Options::reverse}, {Options::random, 1}, {Options::random, 2}};

struct Fragments {
  float a[16][16], b[16][8], c[16][8], wide[16][8], narrow[16][8];
  uint16_t tiles[4][8][8];
  uint32_t plain[32][4], transposed[32][4];
};

__global__ void __launch_bounds__(32) fragments_kernel(Fragments* f) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4 * 2;
  const auto a_at = [&](unsigned m, unsigned k) { return pack_half2(f->a[m][k], f->a[m][k + 1]); };
  const auto b_at = [&](unsigned k) { return pack_half2(f->b[k][g], f->b[k + 1][g]); };
  const uint32_t a[4] = {a_at(g, t), a_at(g + 8, t), a_at(g, t + 8), a_at(g + 8, t + 8)};
  float wide[4], narrow[4];
  for (int i = 0; i < 4; ++i) wide[i] = narrow[i] = f->c[g + i / 2 * 8][t + i % 2];
  mma_16816(wide, a, b_at(t), b_at(t + 8));
  mma_1688(narrow, a[0], a[1], b_at(t));
  for (int i = 0; i < 4; ++i)
    f->wide[g + i / 2 * 8][t + i % 2] = wide[i], f->narrow[g + i / 2 * 8][t + i % 2] = narrow[i];
  char* row = shared_memory() + 16 * threadIdx.x;
  std::memcpy(row, f->tiles[threadIdx.x / 8][threadIdx.x % 8], 16);
  warp_barrier();
  load_matrices(f->plain[threadIdx.x], row);
  load_matrices_transposed(f->transposed[threadIdx.x], row);
}

void test_fragments() {
  Fragments f{};
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  const auto half = [&] { return unpack_half2(pack_half2(normal(generator), 0)).x; };
  for (int i = 0; i < 256; ++i) f.a[i / 16][i % 16] = half();
  for (int i = 0; i < 128; ++i) f.b[i / 8][i % 8] = half(), f.c[i / 8][i % 8] = normal(generator);
  for (int i = 0; i < 256; ++i) f.tiles[i / 64][i / 8 % 8][i % 8] = uint16_t(generator());
  emulator::launch(fragments_kernel, 1, 32, 512, false, &f);
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      double sums[2] = {};
      for (int k = 0; k < 16; ++k) sums[k / 8] += double(f.a[m][k]) * double(f.b[k][n]);
      assert(fabsf(f.wide[m][n] - float(f.c[m][n] + sums[0] + sums[1])) < 1e-6f);
      assert(f.narrow[m][n] == float(f.c[m][n] + sums[0]));
    }
  for (unsigned i = 0; i < 128; ++i) {
    const unsigned r = i / 16, c = i / 4 % 4 * 2;
    const auto& tile = f.tiles[i % 4];
    assert(f.plain[i / 4][i % 4] == (tile[r][c] | uint32_t(tile[r][c + 1]) << 16));
    assert(f.transposed[i / 4][i % 4] == (tile[c][r] | uint32_t(tile[c + 1][r]) << 16));
  }
}

void test_numbers() {
  assert(pack_half2(1, -2) == 0xc0003c00u && pack_half2(65519, 65520) == 0x7c007bffu);
  assert(pack_half2(2049, 2051) == 0x68026800u && pack_half2(0x1p-24f, 0x1p-25f) == 1);
  assert(unpack_half2(0x0001fc00u).x == -INFINITY && unpack_half2(0x0001fc00u).y == 0x1p-24f);
  float sine, cosine;
  sine_cosine(11, sine, cosine);
  assert(fabsf(sine + 0.99999021f) < 1e-7f && fabsf(cosine - 0.0044256980f) < 1e-9f);
}

__global__ void shuffles_kernel(float* out) {
  const unsigned warp = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
  float sum = float(threadIdx.x);
  for (int mask = 16; mask; mask /= 2) sum += shuffle_xor(sum, mask);
  if (shuffle_xor(0xfffffff0u + lane, 1) != 0xfffffff0u + (lane ^ 1)) sum = -1;
  if (shuffle(~uint64_t(threadIdx.x), 5) != ~uint64_t(warp + 5)) sum = -1;
  if (shuffle(float(threadIdx.x), int(lane + 1)) != float(warp + (lane + 1) % 32)) sum = -1;
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

// out[block] = the sum of 0, 1, ... over 64 threads of each block in the grid.
__global__ void sum_kernel(float* out, unsigned* state) {
  float* shared = reinterpret_cast<float*>(shared_memory());
  if (threadIdx.x >= 64) return;  // no barrier waits for these
  if (!std::isnan(shared[threadIdx.x])) throw std::logic_error("shared memory is not NaN");
  shared[threadIdx.x] = float(blockIdx.x * 64 + threadIdx.x);
  for (unsigned half = 32; half; half /= 2) {
    block_barrier();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  if (threadIdx.x == 0) out[gridDim.x + blockIdx.x] = shared[0];
  group_barrier(state, gridDim.x);
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += out[gridDim.x + i];
  if (threadIdx.x == 63) out[blockIdx.x] = sum;
}

bool sums_are_right() {
  std::vector<float> out(6, NAN);
  unsigned state = 0;
  emulator::launch(sum_kernel, 3, 96, 64 * sizeof(float), true, out.data(), &state);
  return out[0] == 18336 && out[1] == 18336 && out[2] == 18336;
}

void test_barriers() {
  emulator::forget_sites();
  for (const Options& order : kOrders) {
    emulator::options() = order;
    std::vector<float> out(128);
    emulator::launch(shuffles_kernel, 2, 64, 0, false, out.data());
    for (size_t i = 0; i < 128; ++i) assert(out[i] == (i % 64 < 32 ? 496 : 1520));
    assert(sums_are_right() && races == 0);
  }
  assert(emulator::sites().size() == 2);
  for (const emulator::Site& site : emulator::sites()) {
    bool wrong[3] = {};  // by order
    races = 0;
    for (const Options& order : kOrders) {
      emulator::options() = {order.order, order.seed, site.file, site.line};
      wrong[order.order] = !sums_are_right();
    }
    assert(wrong[Options::forward] || wrong[Options::reverse]);
    assert((races > 0) == emulator::kThreadSanitizer);
  }
}

enum Fault { alone, both, apart, early, blocks, crooked, outside, thrown, between, shuffled, over };

__global__ void fault_kernel(Fault fault, unsigned* state) {
  const bool first = threadIdx.x % 32 < 16;
  char* const shared = shared_memory();
  uint32_t words[4];
  if (fault == alone) group_barrier(state, 3);
  if (fault == both) first ? block_barrier() : warp_barrier();
  if (fault == apart) first ? static_cast<void>(shuffle_xor(1u, 1)) : warp_barrier();
  if (fault == early && (first || shuffle(1.0f, 0) == 1)) return;
  if (fault == blocks && first) block_barrier();
  if (fault == blocks) block_barrier();
  if (fault == crooked) load_matrices(words, shared + 8);
  if (fault == outside) load_matrices(words, shared + 64);
  if (fault == thrown && threadIdx.x == 40) throw std::runtime_error("thrown");
  if (fault == between && threadIdx.x == 0) *state = 1;
  if (fault == shuffled) shared[threadIdx.x] = 1, shuffle_xor(0u, 1), shared[threadIdx.x ^ 1] = 1;
  if (fault == over) shared[64 + threadIdx.x / 63] = 1;
}

void test_faults() {
  const char* const expected[] = {"deadlock", "deadlock", "divergence", "divergence", "divergence",
                                  "multiple", "shared",   "thrown",     "",           ""};
  unsigned state = 0;
  for (int fault = alone; fault <= shuffled; ++fault) {
    races = 0;
    for (Options order : kOrders) {
      order.collectives_order_memory = order.order != Options::reverse;
      emulator::options() = order;
      std::string message;
      try {
        emulator::launch(fault_kernel, 2, 64, 64, false, Fault(fault), &state);
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      assert(message.empty() == !*expected[fault] &&
             message.find(expected[fault]) != std::string::npos);
      assert((races > 0) == (emulator::kThreadSanitizer &&
                             (fault == between || (fault == shuffled && order.order > 0))));
      assert(fault != thrown || sums_are_right());
    }
  }
#if defined(__SANITIZE_ADDRESS__)
  if (fork() == 0) {
    assert(std::freopen("/dev/null", "w", stderr));
    emulator::launch(fault_kernel, 1, 64, 64, false, over, &state);
    _exit(0);
  }
  int status = 0;
  assert(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) != 0);
#endif
}

}  // namespace

int main() {
  test_fragments();
  test_numbers();
  test_barriers();
  test_faults();
}
