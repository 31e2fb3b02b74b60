// Memory that is kept for the next who asks for that size: behind arrays (bindings/memory.cpp) and
// Scratch. Fresh pages cost a training step a tenth of its time in faults and zeroing.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pydiff {

constexpr size_t kPooledBytes = size_t{64} << 10;  // smaller requests go to malloc

// A block of at least `bytes`, 64-byte aligned; null where there is no memory. Any thread may give
// it back, in a forked child and at exit too: the pool is never destroyed. briefly: for one kernel
// call, so a much larger block does as well, and kernels in turn need but the largest one.
void* pool_take(size_t bytes, bool briefly = false);
void* pool_take_zeroed(size_t bytes);
void pool_give(void* data);                   // null is allowed
void* pool_resize(void* data, size_t bytes);  // as realloc: null leaves `data` as it was

// Returns all kept blocks to the system.
void pool_release();

// Lent and kept together stay within the bound: one and a half times the most that was lent during
// the last 16384 to 32768 requests. So a training loop, which repeats itself, allocates nothing,
// and what a past peak left goes.
struct PoolUse {
  size_t lent, kept, bound;  // bytes in use; free for the next; see above
  uint64_t fresh;            // blocks that came from the system since the start
};
PoolUse pool_use();

}  // namespace pydiff
