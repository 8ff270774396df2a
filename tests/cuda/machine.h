// Blocks, warps and threads of a launch, and the two ways in which threads wait for each other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "fibres.h"

struct dim3 {
  unsigned x, y, z;
};

namespace emulator {

struct Options {
  // The priority of blocks, of warps, and of the lanes of a warp.
  enum Order { forward, reverse, random } order = forward;
  unsigned seed = 0;                // of the random order
  const char* skip_file = nullptr;  // a barrier that is to return at once, as sites() names it
  int skip_line = 0;
  // Whether shuffles, mma and ldmatrix order memory as ThreadSanitizer sees it. On a GPU they do
  // not.
  bool collectives_order_memory = true;
};

// Of the launches to come.
inline Options& options() {
  static Options instance;
  return instance;
}

// Where a kernel calls what makes it wait.
struct Site {
  const char* file;
  int line;
  const char* operation;

  bool same(const Site& other) const {
    return line == other.line && (file == other.file || !std::strcmp(file, other.file)) &&
           (operation == other.operation || !std::strcmp(operation, other.operation));
  }
  std::string text() const {
    return std::string(operation) + " (" + file + ":" + std::to_string(line) + ")";
  }
};

inline Site here(const char* operation, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
  return {file, line, operation};
}

inline std::vector<Site>& reached_sites() {
  static std::vector<Site> instance;
  return instance;
}

// The barriers that threads came to since forget_sites(), the skipped one too, in the order of
// first arrival.
inline std::vector<Site> sites() { return reached_sites(); }
inline void forget_sites() { reached_sites().clear(); }

constexpr unsigned kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

struct Block;
struct Warp;

// 16 bytes on their way from device memory to shared memory.
struct Copy {
  void* to;
  const void* from;
};

// A CUDA thread.
struct Thread {
  Context* context;
  dim3 index;
  unsigned lane;
  Warp* warp;
  Block* block;
  uint32_t bit;                // of the warp's masks; the lowest one goes first
  const Site* site = nullptr;  // where it waits
  std::vector<Copy> copies = {};
};

// What orders threads. Two points in turn: who is ahead comes to the next one while others have
// yet to leave.
struct Gate {
  uint64_t points[2];
  unsigned round = 0;
  void* point() { return &points[round % 2]; }
};

struct Warp {
  unsigned rank;            // among all warps; the lowest one goes first
  Thread* threads[kLanes];  // in the order of bits
  uint32_t ready, live;     // who can run, who has not returned
  unsigned arrived = 0;     // at a collective,
  const Site* site;         // at this one,
  void* payloads[kLanes];   // with these, in the order of lanes
  Gate gate;
};

struct FreeShared {
  void operator()(char* memory) const { ::operator delete(memory, std::align_val_t(16)); }
};

struct Block {
  dim3 index;
  std::unique_ptr<char, FreeShared> shared;
  Warp* warps;
  unsigned warp_count, live;  // live: threads
  unsigned arrived = 0;       // at a barrier,
  const Site* site;           // at this one,
  unsigned* state;            // of a group if not null
  unsigned group;             // of so many blocks
  Gate gate;
};

struct Group {
  std::vector<Block*> waiting;
  Gate gate;
};

struct Launch {
  std::function<void()> body;
  dim3 grid, block;
  size_t shared_bytes;
  std::mt19937 generator;
  Context host;
  Context* active = &host;
  Context* before = nullptr;  // active before that
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<Block> blocks;
  std::vector<Warp*> by_rank;
  std::vector<uint64_t> ready;  // bit `rank`: a lane of that warp can run
  std::map<unsigned*, Group> groups;
  size_t live = 0;  // threads
  std::exception_ptr failure;
};

inline Launch* current = nullptr;
inline Thread* running = nullptr;

// ---- Who runs ---------------------------------------------------------------------------------

inline void switch_to(Context& to) {
  Context& self = *current->active;
  current->before = &self;
  current->active = &to;
  self.leave_for(to);
  self.arrive(*current->before);
}

// Ends the launch: run_threads() catches what is thrown in a fibre, and run() throws it on.
[[noreturn]] inline void fail(const std::string& message) { throw std::runtime_error(message); }

[[noreturn]] inline void fail_divergence(const std::string& at, const std::string& others) {
  fail("divergence: thread " + std::to_string(running->index.x) + " of block " +
       std::to_string(running->block->index.x) + " " + at + " while others of its " + others);
}

[[noreturn]] inline void fail_deadlock() {
  std::map<std::string, unsigned> waiting;
  for (const Thread& thread : current->threads)
    if (thread.warp->live & thread.bit) ++waiting[thread.site->text()];
  std::string message = "deadlock";
  for (const auto& [site, count] : waiting)
    message += "; " + std::to_string(count) + " threads wait at " + site;
  fail(message);
}

inline void set_ready(Warp& warp, uint32_t lanes) {
  warp.ready = lanes;
  uint64_t& word = current->ready[warp.rank / 64];
  const uint64_t bit = uint64_t(1) << warp.rank % 64;
  word = lanes ? word | bit : word & ~bit;
}

// Lets the first fibre that can run do so; returns when that is the calling one.
inline void go_on() {
  size_t i = 0;
  while (i < current->ready.size() && !current->ready[i]) ++i;
  if (i < current->ready.size()) {
    const Warp& warp = *current->by_rank[64 * i + size_t(__builtin_ctzll(current->ready[i]))];
    Thread* next = warp.threads[__builtin_ctz(warp.ready)];
    if (next == running) return;
    running = next;
    switch_to(*next->context);
  } else if (current->live) {
    fail_deadlock();
  } else {
    switch_to(current->host);
  }
}

// The running thread cannot run until it is made ready; go_on() must follow.
inline void park(const Site* site) {
  running->site = site;
  set_ready(*running->warp, running->warp->ready & ~running->bit);
}

// ---- Barriers ---------------------------------------------------------------------------------

// Notes the barrier; whether it is to be passed by.
inline bool skipped(const Site& site) {
  Unseen unseen;
  std::vector<Site>& reached = reached_sites();
  const auto same = [&](const Site& other) { return other.same(site); };
  if (std::none_of(reached.begin(), reached.end(), same)) reached.push_back(site);
  const Options& now = options();
  return now.skip_file && now.skip_line == site.line && !std::strcmp(now.skip_file, site.file);
}

inline void open(Block& block) {
  block.arrived = 0;
  for (unsigned i = 0; i < block.warp_count; ++i) set_ready(block.warps[i], block.warps[i].live);
}

// All live threads of the block have arrived.
inline void complete(Block& block) {
  if (!block.state) {
    ++block.gate.round;
    return open(block);
  }
  Group& group = current->groups[block.state];
  group.waiting.push_back(&block);
  if (group.waiting.size() < block.group) return;
  ++group.gate.round;
  for (Block* member : group.waiting) open(*member);
  group.waiting.clear();
}

// For the live threads of the block, or where there is a state, of `group` blocks that share it.
inline void barrier(const Site& site, unsigned* state, unsigned group) {
  Unseen unseen;
  if (skipped(site)) return;
  Block& block = *running->block;
  if (block.arrived == 0) {
    block.site = &site;
    block.state = state;
    block.group = group;
  } else if (!block.site->same(site) || block.state != state || block.group != group) {
    fail_divergence("is at " + site.text(), "block wait at " + block.site->text());
  }
  void* point = (state ? current->groups[state].gate : block.gate).point();
  release(point);
  park(&site);
  if (++block.arrived == block.live) complete(block);
  go_on();
  acquire(point);
}

// For the lanes of a warp; the last one calls function(at), where at(lane) is that lane's payload.
template <class Payload, class Function>
void warp_collective(const Site& site, bool orders_memory, Payload& payload, Function function) {
  Unseen unseen;
  Warp& warp = *running->warp;
  if (warp.live != kAllLanes) fail_divergence("is at " + site.text(), "warp have returned");
  if (warp.arrived == 0)
    warp.site = &site;
  else if (!warp.site->same(site))
    fail_divergence("is at " + site.text(), "warp wait at " + warp.site->text());
  warp.payloads[running->lane] = &payload;
  void* point = warp.gate.point();
  if (orders_memory) release(point);
  park(&site);
  if (++warp.arrived == kLanes) {
    warp.arrived = 0;
    ++warp.gate.round;
    function([&warp](unsigned lane) -> Payload& {
      return *static_cast<Payload*>(warp.payloads[lane % kLanes]);
    });
    set_ready(warp, kAllLanes);
  }
  go_on();
  if (orders_memory) acquire(point);
}

// ---- Threads ----------------------------------------------------------------------------------

// The running thread has returned from the kernel; returns when its fibre runs another one.
inline void end_thread() {
  Unseen unseen;
  Warp& warp = *running->warp;
  Block& block = *running->block;
  if (warp.arrived) fail_divergence("has returned", "warp wait at " + warp.site->text());
  warp.live &= ~running->bit;
  park(nullptr);
  --current->live;
  if (--block.live && block.arrived == block.live) complete(block);
  go_on();
}

// What a fibre does.
inline void run_threads() {
  running->context->arrive(*current->before);
  try {
    while (true) {
      current->body();
      end_thread();
    }
  } catch (...) {
    Unseen unseen;
    current->failure = std::current_exception();
  }
  Unseen unseen;
  switch_to(current->host);
}

}  // namespace emulator
