// Softmax along the last axis and its gradient.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/math.h"
#include "simd/reduce.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kGrain = 16384;  // elements per task

// body(row) for every row
template <class F>
void for_rows(int64_t rows, int64_t n, const F& body) {
  if (n == 0) return;
  const int64_t per_task = n < kGrain ? kGrain / n : 1;
  parallel_for((rows + per_task - 1) / per_task, [&](int64_t task, int) {
    const int64_t end = (task + 1) * per_task;
    for (int64_t row = task * per_task; row < end && row < rows; ++row) body(row);
  });
}

// Maximum of a row, or of its numbers where some are NaN: those reach the sum without its help.
template <class T>
PYDIFF_INLINE T row_top(int64_t n, const T* x) {
  constexpr int64_t width = Vec<T>::width, step = kGroup * width;
  const Vec<T> none = set1<T>(T(-__builtin_inf()));
  Group<T, kGroup> tops = make_group<T, kGroup>([&](int) { return none; });
  int64_t i = 0;
  for (; i + step <= n; i += step) tops = max_or_second(load(x + i, Wide<kGroup>{}), tops);
  Vec<T> top = tops.v[0];
  for (int v = 1; v < kGroup; ++v) top = max_or_second(tops.v[v], top);
  for (; i + width <= n; i += width) top = max_or_second(load(x + i), top);
  T lanes[width];
  store(lanes, top);
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  for (int64_t half = width / 2; half > 0; half /= 2)
    for (int64_t k = 0; k < half; ++k)
      lanes[k] = lanes[k] > lanes[k + half] ? lanes[k] : lanes[k + half];
  return lanes[0];
}

// One row x (n,) -> y (n,): exp(x - max) / sum
template <class T>
PYDIFF_FLATTEN void softmax_row(int64_t n, const T* x, T* y) {
  const T top = row_top(n, x);
  const T sum = sum_terms<T>(n, [&](int64_t i, auto at) {
    const Vec<T> e = exp(load(x + i, at) - set1<T>(top));
    store(y + i, e, at);
    return e;
  });
  const Vec<T> scale = set1<T>(1 / sum);
  for_lanes<T>(n, [&](int64_t i, auto at) { store(y + i, load(y + i, at) * scale, at); });
}

template <class T>
void softmax_impl(const RowArgs<T>& args) {
  for_rows(args.rows, args.n,
           [&](int64_t row) { softmax_row(args.n, args.x + row * args.n, args.y + row * args.n); });
}

// One row dx (n,) = y (dy - sum(dy y)) from dy and the saved y (n,)
template <class T>
PYDIFF_FLATTEN void softmax_row_backward(int64_t n, const T* dy, const T* y, T* dx) {
  const T dot =
      sum_terms<T>(n, [&](int64_t i, auto at) { return load(dy + i, at) * load(y + i, at); });
  for_lanes<T>(n, [&](int64_t i, auto at) {
    store(dx + i, load(y + i, at) * (load(dy + i, at) - set1<T>(dot)), at);
  });
}

template <class T>
void softmax_backward_impl(const RowBackwardArgs<T>& args) {
  for_rows(args.rows, args.n, [&](int64_t row) {
    const int64_t at = row * args.n;
    softmax_row_backward(args.n, args.dy + at, args.y + at, args.dx + at);
  });
}

}  // namespace

void softmax(const RowArgs<float>& args) { softmax_impl(args); }
void softmax(const RowArgs<double>& args) { softmax_impl(args); }
void softmax_backward(const RowBackwardArgs<float>& args) { softmax_backward_impl(args); }
void softmax_backward(const RowBackwardArgs<double>& args) { softmax_backward_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
