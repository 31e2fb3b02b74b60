// One kernel call from outside: it fixes the number of threads until it ends, so that scratch sized
// by num_threads() stays large enough, and can be cancelled.
#pragma once
#include <atomic>

namespace pydiff {

class Call {
 public:
  using Poll = bool (*)(void* context);  // true: cancel
  Call(Poll poll, void* context);        // poll may be null
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  static Call* current();  // of this thread, or null
  int threads() const { return threads_; }
  bool cancelled() const { return cancelled_; }  // any thread may ask
  bool should_stop();  // polls, at most every 20 ms; once true, it stays true

 private:
  Poll poll_;
  void* context_;
  Call* outer_;
  int threads_;
  std::atomic<bool> cancelled_{false};
  long long next_poll_ns_;
};

}  // namespace pydiff
