// Kernels that move data: nearest upsampling and pooling, strided copies, rows by index.
#include <cstring>

#include "core/args.h"
#include "core/parallel.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kGrain = 16384;  // elements written per task

// body(i) for i in [0, n), each worth `size` elements
template <class F>
void for_items(int64_t n, int64_t size, const F& body) {
  const int64_t per_task = most(1, kGrain / most(1, size));
  parallel_for(ceil_div(n, per_task), [&](int64_t task, int) {
    const int64_t end = least((task + 1) * per_task, n);
    for (int64_t i = task * per_task; i < end; ++i) body(i);
  });
}

template <class T>
PYDIFF_INLINE void copy(T* to, const T* from, int64_t n) {
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
}

// x (n, h, w, c) -> y (n, h f, w f, c), y = scale x at (i / f, j / f): each row is spread once and
// then repeated.
template <class T>
void upsample_nearest_impl(const ResampleArgs<T>& r) {
  const int64_t f = r.factor, row = r.w * f * r.c;
  const Vec<T> scale = set1<T>(r.scale);
  for_items(r.n * r.h, row * f, [&](int64_t i) {
    const T* x = r.x + i * r.w * r.c;
    T* y = r.y + i * f * row;
    for (int64_t j = 0; j < r.w; ++j)
      for_lanes<T>(r.c, [&](int64_t k, auto at) {
        const Vec<T> value = load(x + j * r.c + k, at) * scale;
        for (int64_t copies = 0; copies < f; ++copies)
          store(y + (j * f + copies) * r.c + k, value, at);
      });
    for (int64_t copies = 1; copies < f; ++copies) copy(y + copies * row, y, row);
  });
}

// x (n, h f, w f, c) -> y (n, h, w, c), y = scale times the sum of each window, row by row
template <class T>
void sum_pool_impl(const ResampleArgs<T>& r) {
  const int64_t f = r.factor, row = r.w * f * r.c;
  const Vec<T> scale = set1<T>(r.scale);
  for_items(r.n * r.h, row * f, [&](int64_t i) {
    const T* x = r.x + i * f * row;
    T* y = r.y + i * r.w * r.c;
    for (int64_t j = 0; j < r.w; ++j)
      for_lanes<T>(r.c, [&](int64_t k, auto at) {
        Vec<T> sum = zero<T>();
        for (int64_t u = 0; u < f; ++u)
          for (int64_t v = 0; v < f; ++v) sum = sum + load(x + u * row + (j * f + v) * r.c + k, at);
        store(y + j * r.c + k, sum * scale, at);
      });
  });
}

// One matrix of a copy: y (rows, n) = x (rows, n). Where x runs along rows instead (a transpose),
// tiles of 16 x 16 use every cache line that they load.
template <class T>
void copy_matrix(int64_t rows, int64_t n, const T* x, int64_t x_row, int64_t x_step, T* y,
                 int64_t y_row, int64_t y_step) {
  constexpr int64_t tile = 16;
  if (x_step == 1 && y_step == 1) {
    for (int64_t i = 0; i < rows; ++i) copy(y + i * y_row, x + i * x_row, n);
    return;
  }
  for (int64_t i0 = 0; i0 < rows; i0 += tile)
    for (int64_t j0 = 0; j0 < n; j0 += tile)
      for (int64_t i = i0; i < least(i0 + tile, rows); ++i)
        for (int64_t j = j0; j < least(j0 + tile, n); ++j)
          y[i * y_row + j * y_step] = x[i * x_row + j * x_step];
}

// The matrix of a copy: its last axis, and as rows the axis along which x is densest.
template <class T>
int row_axis(const CopyArgs<T>& args) {
  int best = args.ndim - 2;
  for (int axis = 0; axis < args.ndim - 1; ++axis)
    if (args.x_strides[axis] == 1) best = axis;
  return best;
}

// y[shape] = x[shape] by strides. The caller collapses and orders the axes; the rest is walked
// here: tasks are parts of the row axis at one index of all axes but the last.
template <class T>
void strided_copy_impl(const CopyArgs<T>& args) {
  const int last = args.ndim - 1, rows_axis = row_axis(args);
  const int64_t n = args.shape[last], rows = last > 0 ? args.shape[rows_axis] : 1;
  if (last == 0) {
    for_items(ceil_div(n, kGrain), kGrain, [&](int64_t part) {
      const int64_t begin = part * kGrain, count = least(kGrain, n - begin);
      const int64_t x_step = args.x_strides[0], y_step = args.y_strides[0];
      copy_matrix(1, count, args.x + begin * x_step, 0, x_step, args.y + begin * y_step, 0, y_step);
    });
    return;
  }
  int64_t others = 1;
  for (int axis = 0; axis < last; ++axis)
    if (axis != rows_axis) others *= args.shape[axis];
  const int64_t part = least(rows, most(16, kGrain / n)), parts = ceil_div(rows, part);
  for_items(others * parts, part * n, [&](int64_t item) {
    const int64_t first = item % parts * part;
    int64_t index = item / parts, x = first * args.x_strides[rows_axis];
    int64_t y = first * args.y_strides[rows_axis];
    for (int axis = last - 1; axis >= 0; --axis) {
      if (axis == rows_axis) continue;
      x += index % args.shape[axis] * args.x_strides[axis];
      y += index % args.shape[axis] * args.y_strides[axis];
      index /= args.shape[axis];
    }
    copy_matrix(least(part, rows - first), n, args.x + x, args.x_strides[rows_axis],
                args.x_strides[last], args.y + y, args.y_strides[rows_axis], args.y_strides[last]);
  });
}

// y (n, c) = rows index (n,) of x (rows, c)
template <class T>
void gather_impl(const GatherArgs<T>& args) {
  for_items(args.n, args.c,
            [&](int64_t i) { copy(args.y + i * args.c, args.x + args.index[i] * args.c, args.c); });
}

// y (rows, c) = sum of the rows of x (n, c) that share an index (n,), in the order of n. Tasks are
// strips of columns, so no two add to one element.
template <class T>
void scatter_add_impl(const GatherArgs<T>& args) {
  constexpr int64_t strip = 256 / sizeof(T);
  parallel_for(ceil_div(args.c, strip), [&](int64_t task, int) {
    const int64_t begin = task * strip, count = least(strip, args.c - begin);
    for (int64_t row = 0; row < args.rows; ++row)
      std::memset(args.y + row * args.c + begin, 0, static_cast<size_t>(count) * sizeof(T));
    for (int64_t i = 0; i < args.n; ++i) {
      const T* x = args.x + i * args.c + begin;
      T* y = args.y + args.index[i] * args.c + begin;
      for_lanes<T>(
          count, [&](int64_t k, auto at) { store(y + k, load(y + k, at) + load(x + k, at), at); });
    }
  });
}

}  // namespace

void upsample_nearest(const ResampleArgs<float>& args) { upsample_nearest_impl(args); }
void upsample_nearest(const ResampleArgs<double>& args) { upsample_nearest_impl(args); }
void sum_pool(const ResampleArgs<float>& args) { sum_pool_impl(args); }
void sum_pool(const ResampleArgs<double>& args) { sum_pool_impl(args); }
void strided_copy(const CopyArgs<float>& args) { strided_copy_impl(args); }
void strided_copy(const CopyArgs<double>& args) { strided_copy_impl(args); }
void gather(const GatherArgs<float>& args) { gather_impl(args); }
void gather(const GatherArgs<double>& args) { gather_impl(args); }
void scatter_add(const GatherArgs<float>& args) { scatter_add_impl(args); }
void scatter_add(const GatherArgs<double>& args) { scatter_add_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
