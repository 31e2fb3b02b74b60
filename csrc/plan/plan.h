// A compiled plan: a flat list of kernel calls over one arena. Immutable once built; any number of
// threads may run it at once, each in an arena of its own.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "plan/recording.h"

namespace pydiff {

// Pointer `pointer` of instruction `instruction` is `offset` bytes into a space: kArena, or
// external array number `space`, or null in kNowhere. Pointers without a relocation stay as
// recorded.
struct Relocation {
  int64_t instruction, pointer, space, offset;
};
constexpr int64_t kArena = -1, kNowhere = -2;

class Plan {
 public:
  // Throws std::invalid_argument for a relocation that leads nowhere; external_bytes[i]: the size
  // of external array i.
  Plan(const Recording& recording, const std::vector<Relocation>& relocations, int64_t arena_bytes,
       const std::vector<int64_t>& external_bytes);
  ~Plan();

  // Makes the calls in order until the current Call is cancelled. externals[i]: where external
  // array i lies this time. seconds: (size(),) how long each call took, or null.
  void run(void* const* externals, double* seconds) const;
  int64_t size() const { return static_cast<int64_t>(instructions_.size()); }

 private:
  struct Arena;  // memory for one run, and the arguments of all calls that point into it
  class Borrowed;
  struct Patch {
    int64_t word, space, offset;
  };

  std::unique_ptr<Arena> make_arena() const;

  const std::vector<Instruction> instructions_;
  std::vector<uint64_t> words_;
  const int64_t arena_bytes_;
  std::vector<Patch> arena_patches_, external_patches_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Arena>> idle_;
};

}  // namespace pydiff
