#include <cstdlib>
#include <new>

#include "core/parallel.h"

namespace pydiff {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kKeptBytes = size_t{256} << 20;  // a larger block is freed at once
constexpr int kKeptBlocks = 4;

// Blocks that a thread keeps between calls: fresh pages cost more than most kernels.
struct Cache {
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };
  Block blocks[kKeptBlocks];
  size_t kept = 0;

  ~Cache() {
    for (const Block& block : blocks) std::free(block.data);
  }

  // The smallest block that is large enough, or none.
  Block take(size_t bytes) {
    Block* best = nullptr;
    for (Block& block : blocks) {
      const bool fits = block.data != nullptr && block.bytes >= bytes;
      if (fits && (best == nullptr || block.bytes < best->bytes)) best = &block;
    }
    return best != nullptr ? remove(*best) : Block{};
  }

  // Keeps the block in place of the smallest one, where the bound allows it.
  void give(Block block) {
    Block* smallest = &blocks[0];
    for (Block& other : blocks)
      if (other.bytes < smallest->bytes) smallest = &other;
    const bool keep =
        block.bytes > smallest->bytes && kept - smallest->bytes + block.bytes <= kKeptBytes;
    if (keep) {
      std::free(remove(*smallest).data);
      *smallest = block;
      kept += block.bytes;
    } else {
      std::free(block.data);
    }
  }

  Block remove(Block& slot) {
    const Block block = slot;
    kept -= block.bytes;
    slot = Block{};
    return block;
  }
};

thread_local Cache cache;

}  // namespace

Scratch::Scratch(size_t bytes) {
  const Cache::Block kept = cache.take(bytes);
  data_ = kept.data;
  bytes_ = kept.bytes;
  if (data_ != nullptr) return;
  if (bytes > SIZE_MAX - kAlignment) throw std::bad_alloc();
  bytes_ = (bytes / kAlignment + 1) * kAlignment;
  data_ = std::aligned_alloc(kAlignment, bytes_);
  if (data_ == nullptr) throw std::bad_alloc();
}

Scratch::~Scratch() { cache.give({data_, bytes_}); }

size_t checked_bytes(int64_t count, int64_t size) {
  int64_t bytes;
  if (count < 0 || size < 0 || __builtin_mul_overflow(count, size, &bytes)) throw std::bad_alloc();
  return static_cast<size_t>(bytes);
}

}  // namespace pydiff
