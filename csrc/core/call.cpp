#include "core/call.h"

#include <chrono>

#include "core/parallel.h"

namespace pydiff {
namespace {

constexpr long long kPollIntervalNs = 20'000'000;

thread_local Call* current_call = nullptr;

long long now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace

Call::Call(Poll poll, void* context)
    : poll_(poll),
      context_(context),
      outer_(current_call),
      threads_(num_threads()),
      next_poll_ns_(poll != nullptr ? now_ns() + kPollIntervalNs : 0) {
  current_call = this;
}

Call::~Call() { current_call = outer_; }

Call* Call::current() { return current_call; }

bool Call::should_stop() {
  if (cancelled_ || poll_ == nullptr) return cancelled_;
  const long long now = now_ns();
  if (now < next_poll_ns_) return false;
  cancelled_ = poll_(context_);
  next_poll_ns_ = now_ns() + kPollIntervalNs;
  return cancelled_;
}

}  // namespace pydiff
