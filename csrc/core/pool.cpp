#include "core/pool.h"

#ifdef __linux__
#include <sys/mman.h>
#endif
#include <pthread.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) static_cast<void>(0)
#endif

namespace pydiff {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLargestPage = size_t{64} << 10;  // of any Linux
constexpr size_t kLargest = size_t{1} << 47;       // what a processor can address
constexpr int kFirstBit = 16, kLastBit = 47;       // kPooledBytes .. kLargest
constexpr int kClasses = (kLastBit - kFirstBit + 1) * 8;
constexpr uint64_t kWindow = 16384;  // requests

// In the 64 bytes before the data. Kept blocks are in two lists: of their class, and of all by age.
struct Block {
  Block *below, *above;  // in the class, last freed on top
  Block *older, *newer;
  void* base;      // as the system gave it
  size_t mapped;   // bytes to unmap; 0 where `base` came from malloc
  size_t bytes;    // as asked for
  int size_class;  // -1: not pooled
};
static_assert(sizeof(Block) <= kAlignment);

Block* block_of(void* data) {
  return reinterpret_cast<Block*>(static_cast<char*>(data) - kAlignment);
}
char* data_of(Block* block) { return reinterpret_cast<char*>(block) + kAlignment; }

// Eight classes per power of two: at most an eighth is wasted.
int class_of(size_t bytes) {
  const int bit = 63 - __builtin_clzll(bytes);
  const size_t step = size_t{1} << (bit - 3), above = bytes - (size_t{1} << bit);
  return (bit - kFirstBit) * 8 + static_cast<int>((above + step - 1) / step);
}

size_t class_bytes(int size_class) {
  return (size_t{8} + size_class % 8) << (size_class / 8 + kFirstBit - 3);
}

[[maybe_unused]] size_t capacity(const Block* block) {  // for ASan
  return block->size_class < 0 ? block->bytes : class_bytes(block->size_class);
}

// ---- the system's memory

#ifdef __linux__
// Whole huge pages where the kernel has them: 512 times fewer faults, and fewer TLB misses.
Block* map_block(size_t bytes) {
  const size_t mapped = (bytes / kLargestPage + 1) * kLargestPage;  // there is room for the header
  void* raw =
      mmap(nullptr, mapped + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(raw);
  const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (skip > 0) munmap(begin, skip);
  if (skip < kHugePage) munmap(begin + skip + mapped, kHugePage - skip);
  madvise(begin + skip, mapped, MADV_HUGEPAGE);
  Block* block = reinterpret_cast<Block*>(begin + skip);
  block->base = begin + skip;
  block->mapped = mapped;
  return block;
}
#endif

Block* system_block(size_t bytes) {
#ifdef __linux__
  if (bytes >= kHugePage) return map_block(bytes);
#endif
  // Not aligned_alloc, which glibc serves without its caches: 0.1 us more for a small kernel call.
  char* raw = static_cast<char*>(std::malloc(bytes + 2 * kAlignment));
  if (raw == nullptr) return nullptr;
  Block* block = reinterpret_cast<Block*>(
      raw + (kAlignment - reinterpret_cast<uintptr_t>(raw) % kAlignment) % kAlignment);
  block->base = raw;
  block->mapped = 0;
  return block;
}

void return_to_system(Block* block) {
  ASAN_UNPOISON_MEMORY_REGION(data_of(block), capacity(block));
#ifdef __linux__
  if (block->mapped > 0) {
    munmap(block->base, block->mapped);
    return;
  }
#endif
  std::free(block->base);
}

void return_chain(Block* chain) {
  while (chain != nullptr) {
    Block* next = chain->older;
    return_to_system(chain);
    chain = next;
  }
}

// ---- what is kept

class Pool {
 public:
  // A kept block of the class or of one up to half as large again, or eight times as large for
  // memory that comes back at once; null: a fresh one of the class is to be lent.
  Block* take(int size_class, bool briefly) {
    Block* stale = nullptr;
    std::unique_lock<std::mutex> lock(mutex_);
    if (++requests_ % kWindow == 0) {
      peak_before_ = peak_;
      peak_ = lent_;
      stale = above_bound();
    }
    Block* block = nullptr;
    const int last = size_class + (briefly ? 24 : 4);
    for (int c = size_class; block == nullptr && c <= last && c < kClasses; ++c) block = tops_[c];
    if (block != nullptr) unlink(block);
    lent_ += class_bytes(block != nullptr ? block->size_class : size_class);
    if (lent_ > peak_) peak_ = lent_;
    lock.unlock();
    return_chain(stale);
    return block;
  }

  void give(Block* block) {
    std::unique_lock<std::mutex> lock(mutex_);
    lent_ -= class_bytes(block->size_class);
    link(block);
    Block* stale = above_bound();
    lock.unlock();
    return_chain(stale);
  }

  void lend_fresh() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++fresh_;
  }
  void lend_nothing(int size_class) {
    const std::lock_guard<std::mutex> lock(mutex_);
    lent_ -= class_bytes(size_class);
    peak_ = lent_;  // the request that failed was no use
  }

  void release() {
    std::unique_lock<std::mutex> lock(mutex_);
    Block* all = cut(0);
    peak_ = lent_;
    peak_before_ = 0;
    lock.unlock();
    return_chain(all);
  }

  PoolUse use() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return {lent_, kept_, bound(), fresh_};
  }

  std::mutex& mutex() { return mutex_; }

 private:
  // Sizes have their peaks at different times, so all blocks together need more than the peak.
  size_t bound() const {
    const size_t peak = peak_ > peak_before_ ? peak_ : peak_before_;
    return peak + peak / 2;
  }
  Block* above_bound() { return cut(bound()); }

  // Takes the oldest blocks out until no more than `bytes` are left; a chain by `older`.
  Block* cut(size_t bytes) {
    Block* chain = nullptr;
    while (kept_ > 0 && lent_ + kept_ > bytes) {
      Block* block = oldest_;
      unlink(block);
      block->older = chain;
      chain = block;
    }
    return chain;
  }

  void link(Block* block) {
    Block*& top = tops_[block->size_class];
    block->below = top;
    block->above = nullptr;
    if (top != nullptr) top->above = block;
    top = block;
    block->older = newest_;
    block->newer = nullptr;
    (newest_ != nullptr ? newest_->newer : oldest_) = block;
    newest_ = block;
    kept_ += class_bytes(block->size_class);
  }

  void unlink(Block* block) {
    if (block->below != nullptr) block->below->above = block->above;
    (block->above != nullptr ? block->above->below : tops_[block->size_class]) = block->below;
    (block->older != nullptr ? block->older->newer : oldest_) = block->newer;
    (block->newer != nullptr ? block->newer->older : newest_) = block->older;
    kept_ -= class_bytes(block->size_class);
  }

  std::mutex mutex_;
  Block* tops_[kClasses] = {};
  Block *oldest_ = nullptr, *newest_ = nullptr;
  size_t lent_ = 0, kept_ = 0, peak_ = 0, peak_before_ = 0;
  uint64_t requests_ = 0, fresh_ = 0;
};

// Never destroyed: arrays outlive static objects.
Pool& pool() {
  static Pool* const the_pool = [] {
    Pool* fresh = new Pool;
    // A child must not inherit a lock that another thread holds.
    pthread_atfork([] { pool().mutex().lock(); }, [] { pool().mutex().unlock(); },
                   [] { pool().mutex().unlock(); });
    return fresh;
  }();
  return *the_pool;
}

Block* pooled_block(size_t bytes, bool briefly) {
  const int size_class = class_of(bytes);
  Block* block = pool().take(size_class, briefly);
  if (block == nullptr) {
    block = system_block(class_bytes(size_class));
    if (block == nullptr) {
      pool().release();
      block = system_block(class_bytes(size_class));
    }
    if (block == nullptr) {
      pool().lend_nothing(size_class);
      return nullptr;
    }
    pool().lend_fresh();
    block->size_class = size_class;
  }
  return block;
}

}  // namespace

void* pool_take(size_t bytes, bool briefly) {
  if (bytes > kLargest) return nullptr;
  const bool pooled = bytes >= kPooledBytes;
  Block* block = pooled ? pooled_block(bytes, briefly) : system_block(bytes);
  if (block == nullptr) return nullptr;
  if (!pooled) block->size_class = -1;
  block->bytes = bytes;
  ASAN_POISON_MEMORY_REGION(data_of(block), capacity(block));
  ASAN_UNPOISON_MEMORY_REGION(data_of(block), bytes);
  return data_of(block);
}

void* pool_take_zeroed(size_t bytes) {
  void* data = pool_take(bytes);
  if (data != nullptr) std::memset(data, 0, bytes);
  return data;
}

void pool_give(void* data) {
  if (data == nullptr) return;
  Block* block = block_of(data);
  if (block->size_class < 0) return return_to_system(block);
  ASAN_POISON_MEMORY_REGION(data, capacity(block));
  pool().give(block);
}

void* pool_resize(void* data, size_t bytes) {
  if (data == nullptr) return pool_take(bytes);
  void* fresh = pool_take(bytes);
  if (fresh == nullptr) return nullptr;
  const size_t before = block_of(data)->bytes;
  std::memcpy(fresh, data, before < bytes ? before : bytes);
  pool_give(data);
  return fresh;
}

void pool_release() { pool().release(); }

PoolUse pool_use() { return pool().use(); }

}  // namespace pydiff
