#include "plan/plan.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <new>

#include "core/call.h"
#include "core/parallel.h"

namespace pydiff {
namespace {

constexpr int64_t kAlignment = 64;

thread_local Recording* current_recording = nullptr;

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

int64_t whole_lines(int64_t bytes) {
  if (bytes < 0 || bytes > INT64_MAX - kAlignment)
    throw std::invalid_argument("the arena's size is negative or too large");
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

Recording* Recording::current() { return current_recording; }

void Recording::start() {
  if (current_recording != nullptr) throw std::logic_error("a recording has begun already");
  current_recording = this;
}

void Recording::stop() {
  if (current_recording == this) current_recording = nullptr;
}

Plan::Plan(const Recording& recording, const std::vector<Relocation>& relocations,
           int64_t arena_bytes, const std::vector<int64_t>& external_bytes)
    : instructions_(recording.instructions),
      words_(recording.words),
      arena_bytes_(whole_lines(arena_bytes)) {
  for (const Relocation& relocation : relocations) add(relocation, external_bytes);
}

void Plan::add(const Relocation& r, const std::vector<int64_t>& external_bytes) {
  bool fits = r.instruction >= 0 && r.instruction < size() && r.pointer >= 0 &&
              r.pointer < instructions_[r.instruction].pointers && r.space >= kNowhere &&
              r.space < static_cast<int64_t>(external_bytes.size()) && r.offset >= 0;
  if (fits && r.space != kNowhere)
    fits = r.offset <= (r.space == kArena ? arena_bytes_ : external_bytes[r.space]);
  if (!fits) throw std::invalid_argument("a relocation leads outside the plan");
  const int64_t word = instructions_[r.instruction].args + r.pointer;
  if (r.space == kNowhere)
    words_[word] = 0;
  else
    patches_.push_back({word, r.space, r.offset});
}

void Plan::run(void* const* externals, double* seconds) const {
  const size_t word_bytes = words_.size() * sizeof(uint64_t);
  const Scratch memory(checked_bytes(arena_bytes_, 1) + word_bytes);
  char* const arena = memory.as<char>();
  uint64_t* const words = reinterpret_cast<uint64_t*>(arena + arena_bytes_);
  std::memcpy(words, words_.data(), word_bytes);
  for (const Patch& patch : patches_) {
    char* base = patch.space == kArena ? arena : static_cast<char*>(externals[patch.space]);
    words[patch.word] = reinterpret_cast<uint64_t>(base + patch.offset);
  }
  Call* const call = Call::current();
  for (int64_t i = 0; i < size(); ++i) {
    if (call != nullptr && call->should_stop()) return;
    const double begin = seconds != nullptr ? now() : 0;
    instructions_[i].call(instructions_[i].kernel, words + instructions_[i].args);
    if (seconds != nullptr) seconds[i] = now() - begin;
  }
}

void Plan::run_all(const std::vector<std::vector<void*>>& externals) const {
  std::atomic<bool> failed{false};
  Call* const outer = Call::current();
  const auto stopped = [](void* call) { return static_cast<const Call*>(call)->cancelled(); };
  parallel_for(static_cast<int64_t>(externals.size()), [&](int64_t i, int thread) {
    try {
      if (thread == 0 || outer == nullptr) return run(externals[i].data(), nullptr);
      const Call helper(stopped, outer);
      run(externals[i].data(), nullptr);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  });
  if (failed) throw std::bad_alloc();
}

}  // namespace pydiff
