#include "simd/thread_pool.h"

#include <unistd.h>

namespace tcnn_codec {
namespace {

// Steps follow each other within microseconds, so a thread looks a while before it sleeps.
constexpr int kLooks = 4000;

inline void relax() {
#ifdef TCNN_CODEC_X86
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : owner_(getpid()) {
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  if (getpid() != owner_) {
    for (std::thread& worker : workers_) worker.detach();
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t count, const std::function<void(int64_t, int)>& task) {
  task_ = &task;
  count_ = count;
  next_ = 0;
  if (count > 1 && !workers_.empty() && getpid() == owner_) {
    busy_ = int(workers_.size());
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++round_;
    }
    wake_.notify_all();
  }
  take_tasks(0);
  for (int look = 0; busy_ != 0; ++look) look < kLooks ? relax() : std::this_thread::yield();
}

void ThreadPool::take_tasks(int thread) {
  for (int64_t i = next_++; i < count_; i = next_++) (*task_)(i, thread);
}

void ThreadPool::work(int thread) {
  for (uint64_t seen = 0;;) {
    for (int look = 0; round_ == seen && !stop_ && look < kLooks; ++look) relax();
    if (round_ == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round_ != seen || stop_; });
    }
    if (stop_) return;
    seen = round_;
    take_tasks(thread);
    --busy_;
  }
}

}  // namespace tcnn_codec
