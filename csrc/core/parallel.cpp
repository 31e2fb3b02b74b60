#include "core/parallel.h"

#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif
#ifdef PYDIFF_OPENMP
#include <omp.h>
#endif

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

#include "core/call.h"

namespace pydiff {
namespace {

// One call of parallel_tasks. Each thread has a range of the tasks for its own, the same in every
// call of as many tasks, so what a kernel wrote to a thread's cache is there for the next; who has
// done his own takes from the others'. The caller, thread 0, also polls.
struct Job {
  static constexpr int kRanges = 16;
  struct alignas(64) Range {
    std::atomic<int64_t> next;
    int64_t end;
  };

  int ranges;
  TaskFn fn;
  void* context;
  Call* call;
  std::atomic<bool> stop{false};
  Range range[kRanges];

  Job(int64_t tasks, int threads, TaskFn fn, void* context)
      : ranges(threads < kRanges ? threads : kRanges),
        fn(fn),
        context(context),
        call(Call::current()) {
    for (int i = 0; i < ranges; ++i) {
      range[i].next.store(tasks / ranges * i + least_of(tasks % ranges, i),
                          std::memory_order_relaxed);
      range[i].end = tasks / ranges * (i + 1) + least_of(tasks % ranges, i + 1);
    }
  }

 private:
  static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }
};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// A thread that waits for a job asleep. Linux wakes a thread beside its waker, and often leaves
// both there for 20 ms and longer with another processor idle: in half of the bursts that follow a
// rest, two threads took as long as one. So who wakes a sleeper forbids it his own processor, until
// the sleeper is awake.
struct Sleeper {
  Sleeper* next = nullptr;
#ifdef __linux__
  void forbid_this_processor() {
    const int processor = sched_getcpu();
    if (!known || processor < 0 || processor >= CPU_SETSIZE) return;
    cpu_set_t others = allowed;
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others) == 0) return;
    if (pthread_setaffinity_np(thread, sizeof(others), &others) == 0) moved = true;
  }
  void allow() {
    if (moved) pthread_setaffinity_np(thread, sizeof(allowed), &allowed);
  }

 private:
  pthread_t thread = pthread_self();
  cpu_set_t allowed;
  bool known = pthread_getaffinity_np(thread, sizeof(allowed), &allowed) == 0, moved = false;
#else
  void forbid_this_processor() {}
  void allow() {}
#endif
};

thread_local bool inside = false;  // nested calls run serially

void work(Job& job, int thread) {
  const bool outer = inside;
  inside = true;
  for (int i = 0; i < job.ranges; ++i) {
    Job::Range& range = job.range[(thread + i) % job.ranges];
    while (!job.stop.load(std::memory_order_relaxed)) {
      const int64_t task = range.next.fetch_add(1, std::memory_order_relaxed);
      if (task >= range.end) break;
      if (thread == 0 && job.call != nullptr && job.call->should_stop()) {
        job.stop = true;
        break;
      }
      job.fn(job.context, task, thread);
    }
  }
  inside = outer;
}

// Threads that wait for jobs, one job at a time. Whoever is awake joins a job while it has tasks
// left; its caller waits for those that joined, never for one that the system has not scheduled
// yet, so a busy machine slows a job down but does not stall it. Joining and ending take one atomic
// operation each: a job of two tasks costs 0.2 us beyond its work, and 0.5 with a mutex. Never
// destroyed: its threads are detached.
class Pool {
 public:
  // False where another thread's job occupies the pool or no thread could be started.
  bool run(Job& job, int threads) {
    const std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock() || !grow(threads - 1)) return false;
    const uint64_t generation = generation_of(state_.load(std::memory_order_relaxed)) + 1;
    const uint64_t room = static_cast<uint64_t>(threads - 1);
    job_ = &job;
    ended_.store(0, std::memory_order_relaxed);
    // Either this sees the sleeper, or the sleeper, who counts himself first, sees this.
    state_.store(generation << kRoomBits | room, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) wake();
    work(job, 0);
    leave(room, job.call);
    return true;
  }

 private:
  // The state: the number of the job, and how many helpers may still join it.
  static constexpr int kRoomBits = 16;
  static uint64_t generation_of(uint64_t state) { return state >> kRoomBits; }
  static uint64_t room_of(uint64_t state) { return state & ((1u << kRoomBits) - 1); }

  void wake() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (Sleeper* at = asleep_; at != nullptr; at = at->next) at->forbid_this_processor();
    }
    start_.notify_all();
  }

  // Closes the job to newcomers and waits for its helpers, who may have long tasks: so it polls.
  void leave(uint64_t room, Call* call) {
    const uint64_t closed = ~((uint64_t{1} << kRoomBits) - 1);
    const uint64_t joined = room - room_of(state_.fetch_and(closed, std::memory_order_acq_rel));
    const auto all_ended = [&] { return ended_.load(std::memory_order_seq_cst) == joined; };
    if (joined == 0 || spin_until(all_ended)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    caller_sleeps_.store(true, std::memory_order_seq_cst);
    while (!done_.wait_for(lock, std::chrono::milliseconds(20), all_ended)) {
      lock.unlock();
      if (call != nullptr) call->should_stop();
      lock.lock();
    }
    caller_sleeps_.store(false, std::memory_order_relaxed);
  }

  bool grow(int helpers) {
    if (helpers >= 1 << kRoomBits) return false;
    try {
      for (; started_ < helpers; ++started_) std::thread(&Pool::serve, this).detach();
    } catch (const std::system_error&) {
      return false;
    }
    return true;
  }

  void serve() {
    uint64_t seen = 0;
    for (;;) {
      const auto fresh = [&] {
        return generation_of(state_.load(std::memory_order_seq_cst)) != seen;
      };
      if (!spin_until(fresh)) sleep_until(fresh);
      uint64_t state = state_.load(std::memory_order_acquire);
      while (room_of(state) > 0 &&
             !state_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel,
                                           std::memory_order_acquire)) {
      }
      seen = generation_of(state);
      if (room_of(state) == 0) continue;
      work(*job_, static_cast<int>(room_of(state)));
      ended_.fetch_add(1, std::memory_order_seq_cst);
      if (caller_sleeps_.load(std::memory_order_seq_cst)) {
        {
          const std::lock_guard<std::mutex> lock(mutex_);
        }  // he sleeps, or has yet to look
        done_.notify_one();
      }
    }
  }

  template <class F>
  void sleep_until(const F& condition) {
    std::unique_lock<std::mutex> lock(mutex_);
    Sleeper self;
    self.next = asleep_;
    asleep_ = &self;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    start_.wait(lock, condition);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
    Sleeper** at = &asleep_;
    while (*at != &self) at = &(*at)->next;
    *at = self.next;
    self.allow();
  }

  // True once the condition holds; false after longer than kernels of a network lie apart. Sleeping
  // and waking costs up to a millisecond on virtual machines; yielding costs others nothing.
  template <class F>
  static bool spin_until(const F& condition) {
    for (int i = 0; i < kSpins; ++i) {
      if (condition()) return true;
      pause();
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
    while (std::chrono::steady_clock::now() < end) {
      if (condition()) return true;
      std::this_thread::yield();
    }
    return false;
  }

  static constexpr int kSpins = 1000;

  // What helpers watch and need, what the caller watches, and the rest: a line of the cache each
  alignas(64) std::atomic<uint64_t> state_{0};
  Job* job_ = nullptr;
  alignas(64) std::atomic<uint64_t> ended_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  int started_ = 0;
  Sleeper* asleep_ = nullptr;
  std::mutex turn_, mutex_;
  std::condition_variable start_, done_;
};

std::atomic<Pool*> pool{nullptr};
std::atomic<bool> forked{false};

Pool& the_pool() {
  Pool* found = pool.load();
  if (found == nullptr) {
    Pool* fresh = new Pool;
    if (pool.compare_exchange_strong(found, fresh)) return *fresh;
    delete fresh;
  }
  return *found;
}

// The child has only the forking thread: the parent's pool and libgomp's are dead there.
const int fork_handler = pthread_atfork(nullptr, nullptr, [] {
  forked = true;
  pool = nullptr;
  inside = false;
});

int available_processors() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count > 0 ? static_cast<int>(count) : 1;
}

int threads_at_start() {
  for (const char* name : {"PYDIFF_NUM_THREADS", "OMP_NUM_THREADS"}) {
    const char* text = std::getenv(name);
    const long n = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
    if (n >= 1 && n <= 1024) return static_cast<int>(n);
  }
  return available_processors();
}

std::atomic<int> wanted_threads{0};

}  // namespace

int num_threads() {
  if (inside) return 1;
  if (Call::current() != nullptr) return Call::current()->threads();
  int n = wanted_threads.load(std::memory_order_relaxed);
  if (n == 0) wanted_threads = n = threads_at_start();
  return n;
}

void set_num_threads(int n) { wanted_threads = n; }

bool built_with_openmp() {
#ifdef PYDIFF_OPENMP
  return true;
#else
  return false;
#endif
}

void parallel_tasks(int64_t tasks, TaskFn fn, void* context) {
  const int64_t most = num_threads();
  const int threads = static_cast<int>(tasks < most ? tasks : most);
  Job job(tasks, threads, fn, context);
  if (job.call != nullptr && job.call->cancelled()) return;
  if (threads <= 1) return work(job, 0);
#ifdef PYDIFF_OPENMP
  if (!forked) {
#pragma omp parallel num_threads(threads)
    work(job, omp_get_thread_num());
    return;
  }
#endif
  if (!the_pool().run(job, threads)) work(job, 0);
}

}  // namespace pydiff
