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

// x (rows, n) -> y (rows, n): exp(x - max) / sum
template <class T>
void softmax_impl(const RowArgs<T>& args) {
  for_rows(args.rows, args.n, [&](int64_t row) {
    const T* x = args.x + row * args.n;
    T* y = args.y + row * args.n;
    const T top = max_terms<T>(args.n, [&](int64_t i, auto at) { return load(x + i, at); });
    const T sum = sum_terms<T>(args.n, [&](int64_t i, auto at) {
      const Vec<T> e = exp(load(x + i, at) - set1<T>(top));
      store(y + i, e, at);
      return e;
    });
    const Vec<T> scale = set1<T>(1 / sum);
    for_lanes<T>(args.n, [&](int64_t i, auto at) { store(y + i, load(y + i, at) * scale, at); });
  });
}

// dx (rows, n) = y (dy - sum(dy y)) from dy and the saved y (rows, n)
template <class T>
void softmax_backward_impl(const RowBackwardArgs<T>& args) {
  for_rows(args.rows, args.n, [&](int64_t row) {
    const T *dy = args.dy + row * args.n, *y = args.y + row * args.n;
    T* dx = args.dx + row * args.n;
    const T dot = sum_terms<T>(
        args.n, [&](int64_t i, auto at) { return load(dy + i, at) * load(y + i, at); });
    for_lanes<T>(args.n, [&](int64_t i, auto at) {
      store(dx + i, load(y + i, at) * (load(dy + i, at) - set1<T>(dot)), at);
    });
  });
}

}  // namespace

void softmax(const RowArgs<float>& args) { softmax_impl(args); }
void softmax(const RowArgs<double>& args) { softmax_impl(args); }
void softmax_backward(const RowBackwardArgs<float>& args) { softmax_backward_impl(args); }
void softmax_backward(const RowBackwardArgs<double>& args) { softmax_backward_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
