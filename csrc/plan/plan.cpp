#include "plan/plan.h"

#include <chrono>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include "core/call.h"
#include "core/parallel.h"

namespace pydiff {
namespace {

constexpr size_t kMostIdle = 8;  // arenas kept between runs: fresh pages cost 5 % of an evaluation
constexpr size_t kAlignment = 64;

thread_local Recording* current_recording = nullptr;

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
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

struct Plan::Arena {
  explicit Arena(int64_t bytes, const std::vector<uint64_t>& words) : words(words) {
    const size_t rounded = (checked_bytes(bytes, 1) / kAlignment + 1) * kAlignment;
    data = static_cast<char*>(std::aligned_alloc(kAlignment, rounded));
    if (data == nullptr) throw std::bad_alloc();
  }
  ~Arena() { std::free(data); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void point(int64_t word, void* to) { words[word] = reinterpret_cast<uint64_t>(to); }

  char* data;
  std::vector<uint64_t> words;
};

// An arena for one run, given back however the run ends.
class Plan::Borrowed {
 public:
  explicit Borrowed(const Plan& plan) : plan_(plan) {
    {
      const std::lock_guard<std::mutex> lock(plan.mutex_);
      if (!plan.idle_.empty()) {
        arena_ = std::move(plan.idle_.back());
        plan.idle_.pop_back();
      }
    }
    if (arena_ == nullptr) arena_ = plan.make_arena();
  }
  ~Borrowed() {
    const std::lock_guard<std::mutex> lock(plan_.mutex_);
    if (plan_.idle_.size() < kMostIdle) plan_.idle_.push_back(std::move(arena_));
  }
  Arena* operator->() const { return arena_.get(); }

 private:
  const Plan& plan_;
  std::unique_ptr<Arena> arena_;
};

Plan::Plan(const Recording& recording, const std::vector<Relocation>& relocations,
           int64_t arena_bytes, const std::vector<int64_t>& external_bytes)
    : instructions_(recording.instructions), words_(recording.words), arena_bytes_(arena_bytes) {
  idle_.reserve(kMostIdle);  // so that giving back never allocates
  for (const Relocation& r : relocations) {
    bool fits = r.instruction >= 0 && r.instruction < size() && r.pointer >= 0 &&
                r.pointer < instructions_[r.instruction].pointers && r.space >= kNowhere &&
                r.space < static_cast<int64_t>(external_bytes.size()) && r.offset >= 0;
    if (fits && r.space != kNowhere)
      fits = r.offset <= (r.space == kArena ? arena_bytes : external_bytes[r.space]);
    if (!fits) throw std::invalid_argument("a relocation leads outside the plan");
    const Patch patch = {instructions_[r.instruction].args + r.pointer, r.space, r.offset};
    if (r.space == kNowhere)
      words_[patch.word] = 0;
    else
      (r.space == kArena ? arena_patches_ : external_patches_).push_back(patch);
  }
}

Plan::~Plan() = default;

std::unique_ptr<Plan::Arena> Plan::make_arena() const {
  auto arena = std::make_unique<Arena>(arena_bytes_, words_);
  for (const Patch& patch : arena_patches_) arena->point(patch.word, arena->data + patch.offset);
  return arena;
}

void Plan::run(void* const* externals, double* seconds) const {
  const Borrowed arena(*this);
  for (const Patch& patch : external_patches_)
    arena->point(patch.word, static_cast<char*>(externals[patch.space]) + patch.offset);
  Call* const call = Call::current();
  for (int64_t i = 0; i < size(); ++i) {
    if (call != nullptr && call->should_stop()) return;
    const double begin = seconds != nullptr ? now() : 0;
    instructions_[i].call(instructions_[i].kernel, arena->words.data() + instructions_[i].args);
    if (seconds != nullptr) seconds[i] = now() - begin;
  }
}

}  // namespace pydiff
