// Orchestrates the kernels: packs the network, builds the tables of the input layer and hands
// runs of pixels to the threads.

#include <algorithm>
#include <mutex>
#include <stdexcept>

#include "simd/processor.h"
#include "simd/thread_pool.h"
#include "simd/time_peak.h"
#include "siren/integer/pack.h"

namespace tcnn_codec {
namespace {

constexpr int64_t kTilesPerTask = 64;
constexpr int64_t kTableTilesPerTask = 2;
constexpr size_t kCacheLine = 64;

std::vector<const IntegerKernels*> supported() {
  std::vector<const IntegerKernels*> found;
#ifdef TCNN_CODEC_NEON
  found.push_back(&neon_integers());  // every aarch64 has it
#endif
#ifdef TCNN_CODEC_X86
  if (has_avx512_vnni()) found.push_back(&avx512_vnni_integers());
  if (has_avx512_words()) found.push_back(&avx512_integers());
  if (has_avx2()) found.push_back(&avx2_integers());
  if (has_sse41()) found.push_back(&sse41_integers());
#endif
  found.push_back(&scalar_integers());
  return found;
}

const IntegerKernels& kernels_for(const std::string& isa) {
  std::string names;
  for (const IntegerKernels* kernels : supported()) {
    if (isa == kernels->isa) return *kernels;
    names += (names.empty() ? "" : ", ") + std::string(kernels->isa);
  }
  throw std::invalid_argument("CPU instruction set '" + isa +
                              "' is not available; this machine and build have " + names +
                              "; choose one of them, or none for the best");
}

int64_t tiles(int64_t pixels) { return (pixels + kIntegerTile - 1) / kIntegerTile; }
int64_t tasks(int64_t tiles, int64_t each) { return (tiles + each - 1) / each; }

uint32_t* aligned(std::vector<uint32_t>& words) {
  const auto past = reinterpret_cast<uintptr_t>(words.data()) % kCacheLine;
  return words.data() + (kCacheLine - past) % kCacheLine / sizeof(uint32_t);
}

}  // namespace

std::vector<std::string> integer_isas() {
  std::vector<std::string> names;
  for (const IntegerKernels* kernels : supported()) names.emplace_back(kernels->isa);
  return names;
}

double integer_peak(const std::string& isa, double seconds) {
  const PeakLoop& loop = kernels_for(isa).peak;
  if (!loop.run)
    throw std::invalid_argument("products of '" + isa +
                                "' cannot be measured; allowed are the other instruction sets");
  return time_peak(loop, seconds);
}

struct IntegerSiren::Engine {
  Engine(const std::string& isa_, int threads)
      : kernels(kernels_for(isa_)), isa(isa_), pool(threads) {}

  const IntegerKernels& kernels;
  std::string isa;
  ThreadPool pool;
  std::mutex busy;  // one call at a time uses the tables
  std::vector<uint32_t> tables;

  void build_tables(const IntegerGrid& grid, PackedIntegers& net) {
    int64_t begin[4] = {0, 0, 0, 0}, words = 0;
    for (int a = 0; a < net.shape.axes; ++a) {
      // One tile more than needed: strides of whole pages would crowd into few cache sets.
      net.table_stride[a] = (tiles(grid.size[a]) + 1) * kIntegerTile;
      begin[a + 1] = begin[a] + tasks(tiles(grid.size[a]), kTableTilesPerTask);
      words += net.rows * net.table_stride[a];
    }
    tables.resize(std::max(tables.size(), size_t(words) + kCacheLine / sizeof(uint32_t)));
    uint32_t* table[3] = {aligned(tables), nullptr, nullptr};
    for (int a = 1; a < net.shape.axes; ++a)
      table[a] = table[a - 1] + net.rows * net.table_stride[a - 1];
    pool.run(begin[net.shape.axes], [&](int64_t task, int) {
      int a = 0;
      while (task >= begin[a + 1]) ++a;
      const int64_t first = (task - begin[a]) * kTableTilesPerTask * kIntegerTile;
      const int64_t last = std::min(first + kTableTilesPerTask * kIntegerTile, grid.size[a]);
      kernels.build_table(net.input[a], net.rows, grid.values[a], net.shape.features_of(a), first,
                          last, table[a], net.table_stride[a]);
    });
    for (int a = 0; a < 3; ++a) {
      net.table[a] = table[a];
      net.size[a] = grid.size[a];
    }
  }

  void render(const IntegerNetwork& network, const IntegerGrid& grid, uint8_t* out) {
    IntegerPacking packing(network, kernels);
    PackedIntegers& net = packing.net;
    build_tables(grid, net);
    const int64_t pixels = grid.pixels(), each = kTilesPerTask * kIntegerTile;
    pool.run(tasks(pixels, each), [&](int64_t task, int) {
      kernels.render(net, task * each, std::min((task + 1) * each, pixels), out);
    });
  }
};

IntegerSiren::IntegerSiren(const std::string& isa, int threads)
    : engine_(std::make_unique<Engine>(isa, threads)) {}
IntegerSiren::~IntegerSiren() = default;

const std::string& IntegerSiren::isa() const { return engine_->isa; }
int IntegerSiren::threads() const { return engine_->pool.threads(); }

void IntegerSiren::render(const IntegerNetwork& network, const IntegerGrid& grid, uint8_t* out) {
  check_integers(network);
  const std::lock_guard<std::mutex> lock(engine_->busy);
  engine_->render(network, grid, out);
}

}  // namespace tcnn_codec
