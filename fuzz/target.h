// What every target in C++ needs: a way to fail, and what its slowest input was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace tcnn_codec {

// Ends the process, which is how a fuzzer learns of a fault.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", property);
  std::abort();
}

// Keeps the longest processor time of one input, and prints it when the process ends. libFuzzer
// itself counts whole seconds of wall-clock time.
class Stopwatch {
 public:
  Stopwatch() : begin_(now()) {}
  ~Stopwatch() {
    static Worst worst;
    const double seconds = now() - begin_;
    if (seconds > worst.seconds) worst.seconds = seconds;
  }

 private:
  struct Worst {
    double seconds = 0;
    ~Worst() { std::fprintf(stderr, "slowest input: %.6f s\n", seconds); }
  };
  static double now() {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
  }
  double begin_;
};

}  // namespace tcnn_codec
