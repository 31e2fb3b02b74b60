// Sums, maxima and squared errors whose bits depend on the shape alone.
#include "simd/reduce.h"

#include "core/args.h"
#include "core/parallel.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kBlock = 16384;  // elements reduced by one task

struct Sum {
  template <class T>
  PYDIFF_INLINE Vec<T> start() const {
    return zero<T>();
  }
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> acc, Vec<T> x) const {
    return acc + x;
  }
  template <class T>
  PYDIFF_INLINE T row(const T* x, int64_t n) const {
    return sum_terms<T>(n, [&](int64_t i, auto at) { return load(x + i, at); });
  }
};
struct Max {
  template <class T>
  PYDIFF_INLINE Vec<T> start() const {
    return set1<T>(T(-__builtin_inf()));
  }
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> acc, Vec<T> x) const {
    return max(acc, x);
  }
  template <class T>
  PYDIFF_INLINE T row(const T* x, int64_t n) const {
    return max_terms<T>(n, [&](int64_t i, auto at) { return load(x + i, at); });
  }
};

// x (n, count) with rows `stride` apart -> y (count,): columns in order of n, four vectors of them
// at a time
template <class T, class Op>
void reduce_columns(const T* x, int64_t n, int64_t stride, int64_t count, T* y, T scale,
                    const Op& op) {
  constexpr int width = Vec<T>::width, group = 4 * width;
  const Vec<T> factor = set1<T>(scale);
  int64_t j = 0;
  for (; j + group <= count; j += group) {
    Vec<T> acc[4];
    for (int v = 0; v < 4; ++v) acc[v] = op.template start<T>();
    for (int64_t i = 0; i < n; ++i)
      for (int v = 0; v < 4; ++v) acc[v] = op(acc[v], load(x + i * stride + j + v * width));
    for (int v = 0; v < 4; ++v) store(y + j + v * width, acc[v] * factor);
  }
  for_lanes<T>(count - j, [&](int64_t k, auto at) {
    Vec<T> acc = op.template start<T>();
    for (int64_t i = 0; i < n; ++i) acc = op(acc, load(x + i * stride + j + k, at));
    store(y + j + k, acc * factor, at);
  });
}

// x (outer, n, inner) -> y (outer, inner). A long n is cut into blocks of `rows`, whose results are
// reduced in turn; a long inner into strips. A task takes about kBlock elements.
template <class T, class Op>
void reduce(const ReduceArgs<T>& r, const Op& op) {
  const int64_t rows = most(16, kBlock / r.inner), blocks = most(1, ceil_div(r.n, rows));
  const int64_t strip = least(r.inner, 1024), strips = ceil_div(r.inner, strip);
  const Scratch scratch(blocks > 1 ? checked_bytes(r.outer * blocks * r.inner, sizeof(T)) : 0);
  T* y = blocks > 1 ? scratch.as<T>() : r.y;
  const T scale = blocks > 1 ? T(1) : r.scale;
  const int64_t items = r.outer * blocks * strips;
  const int64_t per_task = most(1, kBlock / most(1, least(rows, r.n) * strip));
  parallel_for(ceil_div(items, per_task), [&](int64_t task, int) {
    for (int64_t item = task * per_task; item < least((task + 1) * per_task, items); ++item) {
      const int64_t column = item % strips * strip, block = item / strips;
      const int64_t outer = block / blocks, first = block % blocks * rows;
      const int64_t n = least(rows, r.n - first);
      const T* x = r.x + (outer * r.n + first) * r.inner + column;
      T* to = y + block * r.inner + column;
      if (r.inner == 1)
        *to = op.row(x, n) * scale;
      else
        reduce_columns(x, n, r.inner, least(strip, r.inner - column), to, scale, op);
    }
  });
  if (blocks > 1) reduce(ReduceArgs<T>{y, r.y, r.outer, blocks, r.inner, r.scale}, op);
}

template <class T>
void max_impl(ReduceArgs<T> r) {
  r.scale = 1;
  reduce(r, Max());
}

// One row: dx (n,) = dy where x == y, shared between ties. No tie at all means that y is NaN, and
// 0 / 0 says so.
template <class T>
void max_backward_row(const T* x, T y, T dy, T* dx, int64_t n) {
  const Vec<T> one = set1<T>(T(1)), best = set1<T>(y);
  const T ties = sum_terms<T>(
      n, [&](int64_t i, auto at) { return select(eq(load(x + i, at), best), one, zero<T>()); });
  const Vec<T> share = set1<T>(dy / ties), rest = set1<T>(dy * T(0) / ties);
  for_lanes<T>(n, [&](int64_t i, auto at) {
    store(dx + i, select(eq(load(x + i, at), best), share, rest), at);
  });
}

// The same down columns: x, dx (n, inner), y, dy (inner,), one vector of columns at a time
template <class T>
void max_backward_columns(const T* x, const T* y, const T* dy, T* dx, int64_t n, int64_t inner) {
  const Vec<T> one = set1<T>(T(1));
  for_lanes<T>(inner, [&](int64_t j, auto at) {
    const Vec<T> best = load(y + j, at), gradient = load(dy + j, at);
    Vec<T> ties = zero<T>();
    for (int64_t i = 0; i < n; ++i)
      ties = ties + select(eq(load(x + i * inner + j, at), best), one, zero<T>());
    const Vec<T> share = gradient / ties, rest = gradient * zero<T>() / ties;
    for (int64_t i = 0; i < n; ++i) {
      const Mask<T> hit = eq(load(x + i * inner + j, at), best);
      store(dx + i * inner + j, select(hit, share, rest), at);
    }
  });
}

template <class T>
void max_backward_impl(const ReduceBackwardArgs<T>& r) {
  const int64_t size = r.n * r.inner, items = most(1, kBlock / most(1, size));
  parallel_for(ceil_div(r.outer, items), [&](int64_t task, int) {
    for (int64_t o = task * items; o < least((task + 1) * items, r.outer); ++o) {
      const T *x = r.x + o * size, *y = r.y + o * r.inner, *dy = r.dy + o * r.inner;
      if (r.inner == 1)
        max_backward_row(x, *y, *dy, r.dx + o * size, r.n);
      else
        max_backward_columns(x, y, dy, r.dx + o * size, r.n, r.inner);
    }
  });
}

template <class T>
void squared_error_impl(const BinaryReduceArgs<T>& r) {
  const int64_t blocks = ceil_div(r.n, kBlock);
  const Scratch scratch(checked_bytes(blocks, sizeof(T)));
  T* partial = scratch.as<T>();
  parallel_for(blocks, [&](int64_t block, int) {
    const T *a = r.a + block * kBlock, *b = r.b + block * kBlock;
    partial[block] = sum_terms<T>(least(kBlock, r.n - block * kBlock), [&](int64_t i, auto at) {
      const Vec<T> difference = load(a + i, at) - load(b + i, at);
      return difference * difference;
    });
  });
  reduce(ReduceArgs<T>{partial, r.y, 1, blocks, 1, r.scale}, Sum());
}

}  // namespace

void sum(const ReduceArgs<float>& args) { reduce(args, Sum()); }
void sum(const ReduceArgs<double>& args) { reduce(args, Sum()); }
void max(const ReduceArgs<float>& args) { max_impl(args); }
void max(const ReduceArgs<double>& args) { max_impl(args); }
void max_backward(const ReduceBackwardArgs<float>& args) { max_backward_impl(args); }
void max_backward(const ReduceBackwardArgs<double>& args) { max_backward_impl(args); }
void squared_error(const BinaryReduceArgs<float>& args) { squared_error_impl(args); }
void squared_error(const BinaryReduceArgs<double>& args) { squared_error_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
