// A compiled plan: a flat list of kernel calls over one arena. Immutable once built; any number of
// threads may run it at once, each in an arena of its own.
#pragma once
#include <cstdint>
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

  // Makes the calls in order until the current Call is cancelled. externals[i]: where external
  // array i lies this time. seconds: (size(),) how long each call took, or null. The arena comes
  // from the pool, which keeps it: a steady run allocates nothing. Throws std::bad_alloc.
  void run(void* const* externals, double* seconds) const;

  // `run` for several sets of externals side by side, each on one thread: each keeps its own
  // memory in its own cache, and waits for nobody.
  void run_all(const std::vector<std::vector<void*>>& externals) const;
  int64_t size() const { return static_cast<int64_t>(instructions_.size()); }

 private:
  struct Patch {
    int64_t word, space, offset;
  };

  void add(const Relocation& relocation, const std::vector<int64_t>& external_bytes);

  const std::vector<Instruction> instructions_;
  std::vector<uint64_t> words_;  // the arguments of all calls
  const int64_t arena_bytes_;    // rounded up to whole cache lines
  std::vector<Patch> patches_;
};

}  // namespace pydiff
