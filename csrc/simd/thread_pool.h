// A fixed set of threads that share one numbered list of tasks at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tcnn_codec {

// In a forked child, which has no threads but the one that forked, that one does all the tasks.
class ThreadPool {
 public:
  // Throws std::system_error where so many threads cannot be started.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // Runs task(index, thread) once for every index < count, on all threads, the caller's
  // included; returns when all are done. Tasks must not throw.
  void run(int64_t count, const std::function<void(int64_t, int)>& task);

 private:
  void work(int thread);
  void stop();
  void take_tasks(int thread);

  const std::function<void(int64_t, int)>* task_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<int> busy_{0};
  std::atomic<uint64_t> round_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  const int owner_;  // process that started the workers
};

}  // namespace tcnn_codec
