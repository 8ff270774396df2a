// Fibres for the CUDA emulator: stacks, the switch between them, and what sanitizers are told.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

// ---- ThreadSanitizer: who runs, and what is ordered -------------------------------------------

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
// While one is alive, what the running thread reads and writes is not its own doing. A thread that
// another one takes over from has none, since it may end there: pause() gives what resume() takes.
class Unseen {
 public:
  Unseen() { resume(1); }
  ~Unseen() { ignore(-1); }
  static int pause() {
    const int depth = depth_;
    ignore(-depth);
    return depth;
  }
  static void resume(int depth) { ignore(depth); }

 private:
  static void ignore(int more) {
    for (int i = 0; i < more; ++i) AnnotateIgnoreReadsBegin(__FILE__, __LINE__);  // and writes
    depth_ += more;
    for (int i = more; i < 0; ++i) AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  static inline int depth_ = 0;
};
inline void* this_thread() { return __tsan_get_current_fiber(); }
inline void* new_thread() { return __tsan_create_fiber(0); }
inline void delete_thread(void* thread) { __tsan_destroy_fiber(thread); }
// Goes on as another thread, which is not thereby ordered after this one.
inline void become(void* thread) { __tsan_switch_to_fiber(thread, 1); }
// Orders `after` behind all that `before` has done.
inline void order(void* before, void* after) {
  void* const self = this_thread();
  become(before);
  __tsan_switch_to_fiber(after, 0);
  become(self);
}
inline void release(void* point) { __tsan_release(point); }
inline void acquire(void* point) { __tsan_acquire(point); }
#else
constexpr bool kThreadSanitizer = false;
struct Unseen {
  Unseen() {}
  static int pause() { return 0; }
  static void resume(int) {}
};
inline void* this_thread() { return nullptr; }
inline void* new_thread() { return nullptr; }
inline void delete_thread(void*) {}
inline void become(void*) {}
inline void order(void*, void*) {}
inline void release(void*) {}
inline void acquire(void*) {}
#endif

// ---- The switch -------------------------------------------------------------------------------

#if defined(__x86_64__)
// Pushes what a callee saves, stores the stack pointer to *from, and does the reverse with `to`.
extern "C" void cuda_emulator_switch(void** from, void* to);
asm(R"(
  .pushsection .text
  .weak cuda_emulator_switch
  .hidden cuda_emulator_switch
  .type cuda_emulator_switch, @function
cuda_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size cuda_emulator_switch, . - cuda_emulator_switch
  .popsection
)");
#endif

// A fibre, or the host, which is who called launch().
class Context {
 public:
  // The host.
  Context() : thread_(this_thread()) {}

  // A fibre that will call entry, which must not return. `number` of them are there already.
  Context(void (*entry)(), size_t number) : thread_(new_thread()) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* const memory = mmap(nullptr, kMapped, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mapped_ = static_cast<char*>(memory);
    // The lowest page must not be touched: a stack that is too small is found out.
    const size_t page = size_t(sysconf(_SC_PAGESIZE));
    mprotect(mapped_, page, PROT_NONE);
    stack_ = mapped_ + page;
    // Tops differ in their place within a page, or all would compete for the same cache lines.
    bytes_ = kMapped - page - number % 32 * 128;
#if defined(__x86_64__)
    // Six registers, the entry, and a place for where it would return to.
    void** const top = reinterpret_cast<void**>(mapped_ + page + bytes_) - 8;
    std::fill(top, top + 8, nullptr);
    top[6] = reinterpret_cast<void*>(entry);
    stack_pointer_ = top;
#else
    getcontext(&registers_);
    registers_.uc_stack.ss_sp = mapped_ + page;
    registers_.uc_stack.ss_size = bytes_;
    registers_.uc_link = nullptr;
    makecontext(&registers_, entry, 0);
#endif
  }

  ~Context() {
    if (!mapped_) return;
    delete_thread(thread_);
#if defined(__SANITIZE_ADDRESS__)
    // A fibre that never came to its end has left its marks.
    __asan_unpoison_memory_region(mapped_, kMapped);
#endif
    munmap(mapped_, kMapped);
  }

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  void* thread() const { return thread_; }

  // Goes on in `to`; arrive() must follow.
  void leave_for(Context& to) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack_, to.stack_, to.bytes_);
#endif
    void* const thread = to.thread_;
    const int depth = Unseen::pause();
    become(thread);
#if defined(__x86_64__)
    cuda_emulator_switch(&stack_pointer_, to.stack_pointer_);
#else
    swapcontext(&registers_, &to.registers_);
#endif
    Unseen::resume(depth);
  }

  // What is done first here, once `before` has left for it.
  void arrive([[maybe_unused]] Context& before) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack_, &before.stack_, &before.bytes_);
#endif
  }

 private:
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr size_t kMapped = 256 * 1024;
#else
  static constexpr size_t kMapped = 64 * 1024;
#endif
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t registers_;
#endif
  char* mapped_ = nullptr;       // null for the host
  const void* stack_ = nullptr;  // lowest address, without the page below
  size_t bytes_ = 0;
  void* fake_stack_ = nullptr;  // of AddressSanitizer
  void* thread_;                // of ThreadSanitizer
};

}  // namespace emulator
