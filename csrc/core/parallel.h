// The only doorway to threads: pydiff's own pool, or OpenMP in builds that ask for it, save in
// forked children, where libgomp would wait forever for threads that fork did not copy.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pydiff {

using TaskFn = void (*)(void* context, int64_t task, int thread);

// Runs fn(context, task, thread) for every task in [0, tasks), tasks taken in any order by threads
// 0 .. num_threads()-1. Returns early when cancelled (see call.h). fn must not throw.
// Determinism is the caller's: tasks are cut by shape alone and never add into shared memory.
void parallel_tasks(int64_t tasks, TaskFn fn, void* context);

int num_threads();            // threads that the next parallel_tasks will use, >= 1
void set_num_threads(int n);  // n >= 1
bool built_with_openmp();

// A block of scratch for the duration of one kernel call, 64-byte aligned, from the pool of
// core/pool.h. Throws std::bad_alloc, so take it before parallel_for, never inside.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
};

size_t checked_bytes(int64_t count, int64_t size);  // count * size, or std::bad_alloc on overflow

namespace {
// Internal linkage on purpose: this template is instantiated in files built for different
// instruction sets, and must not be merged by the linker.
template <class F>
inline void parallel_for(int64_t tasks, const F& body) {
  parallel_tasks(
      tasks,
      [](void* context, int64_t task, int thread) {
        (*static_cast<const F*>(context))(task, thread);
      },
      const_cast<F*>(&body));
}

// Elements from the scratch of one thread, `count` of them, to the next thread's. A page lies
// between: processors fetch lines ahead of those in use, and would take them from each other.
template <class T>
inline int64_t thread_stride(int64_t count) {
  constexpr int64_t page = 4096 / static_cast<int64_t>(sizeof(T));
  return (count / page + 2) * page;
}

// Asks for lines that another processor may have, so that they are here once they are written.
template <class T>
inline void prefetch_to_write(const T* p, int64_t count) {
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < count; i += line) __builtin_prefetch(p + i, 1);
}
}  // namespace

}  // namespace pydiff
