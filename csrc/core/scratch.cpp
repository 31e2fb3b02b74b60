#include <new>

#include "core/parallel.h"
#include "core/pool.h"

namespace pydiff {

Scratch::Scratch(size_t bytes) : data_(pool_take(bytes, true)) {
  if (data_ == nullptr) throw std::bad_alloc();
}

Scratch::~Scratch() { pool_give(data_); }

size_t checked_bytes(int64_t count, int64_t size) {
  int64_t bytes;
  if (count < 0 || size < 0 || __builtin_mul_overflow(count, size, &bytes)) throw std::bad_alloc();
  return static_cast<size_t>(bytes);
}

}  // namespace pydiff
