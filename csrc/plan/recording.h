// Kernel calls written down instead of made: what a plan is built from.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "core/args.h"
#include "core/table.h"

namespace pydiff {

// How many pointers open each argument struct; all other fields are numbers. So a recorded call
// can be moved to other memory without knowing its kernel. Structs that point to lists of arrays
// are not listed: their calls cannot be recorded.
template <template <class> class Args>
inline constexpr int kPointers = 0;

#define PYDIFF_POINTERS(Args, count, next)                                                     \
  template <>                                                                                  \
  inline constexpr int kPointers<Args> = count;                                                \
  static_assert(offsetof(Args<float>, next) == (count) * sizeof(void*), "pointers of " #Args); \
  static_assert(offsetof(Args<double>, next) == (count) * sizeof(void*), "pointers of " #Args);

PYDIFF_POINTERS(UnaryArgs, 2, n)
PYDIFF_POINTERS(BinaryArgs, 3, ndim)
PYDIFF_POINTERS(ReduceArgs, 2, outer)
PYDIFF_POINTERS(ReduceBackwardArgs, 4, outer)
PYDIFF_POINTERS(BinaryReduceArgs, 3, n)
PYDIFF_POINTERS(RowArgs, 2, rows)
PYDIFF_POINTERS(RowBackwardArgs, 3, rows)
PYDIFF_POINTERS(MatmulArgs, 6, batch)
PYDIFF_POINTERS(Conv2dArgs, 7, n)
PYDIFF_POINTERS(ConvPackArgs, 2, kh)
PYDIFF_POINTERS(GroupNormArgs, 6, n)
PYDIFF_POINTERS(GroupNormBackwardArgs, 9, n)
PYDIFF_POINTERS(LayerNormArgs, 6, rows)
PYDIFF_POINTERS(LayerNormBackwardArgs, 8, rows)
PYDIFF_POINTERS(AttentionArgs, 5, n)
PYDIFF_POINTERS(AttentionBackwardArgs, 9, n)
PYDIFF_POINTERS(ResampleArgs, 2, n)
PYDIFF_POINTERS(CopyArgs, 2, ndim)
PYDIFF_POINTERS(GatherArgs, 3, n)
PYDIFF_POINTERS(RandomArgs, 1, images)
PYDIFF_POINTERS(SinusoidArgs, 3, n)
PYDIFF_POINTERS(FourierArgs, 4, n)
PYDIFF_POINTERS(CastArgs, 3, n)
#undef PYDIFF_POINTERS

// One kernel call; `args` counts words into Recording::words, its pointers come first.
struct Instruction {
  void (*call)(const void* kernel, const void* args);
  const void* kernel;
  int64_t args;
  int pointers;
};

class Recording {
 public:
  static Recording* current();  // of this thread, or null: calls are made
  void start();                 // throws std::logic_error where another one is recording
  void stop();
  ~Recording() { stop(); }

  template <template <class> class Args, class T>
  void add(const Kernel<Args>& kernel, const Args<T>& args) {
    static_assert(std::is_trivially_copyable_v<Args<T>> && alignof(Args<T>) <= sizeof(uint64_t));
    if constexpr (kPointers<Args> == 0)
      throw std::invalid_argument("this kernel cannot be part of a plan");
    const auto call = [](const void* kernel, const void* args) {
      (*static_cast<const Kernel<Args>*>(kernel))(*static_cast<const Args<T>*>(args));
    };
    const size_t begin = words.size();
    words.resize(begin + (sizeof args + sizeof(uint64_t) - 1) / sizeof(uint64_t));
    std::memcpy(&words[begin], &args, sizeof args);
    instructions.push_back({call, &kernel, static_cast<int64_t>(begin), kPointers<Args>});
  }

  std::vector<Instruction> instructions;
  std::vector<uint64_t> words;
};

}  // namespace pydiff
