// Layer norm (Ba et al. 2016), forward and backward.
//
// A row is a reduction over the fixed virtual width, so bits depend on nothing but the row; the
// gradients of the parameters are sums over blocks of 64 rows, combined in double, in order.
// Floor: x once through memory (further looks are cache hits) and y once.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/math.h"
#include "simd/reduce.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kBlockRows = 64;
constexpr int64_t kGrain = 32768;  // elements per task: some microseconds

PYDIFF_INLINE int64_t blocks_of(int64_t rows) { return ceil_div(rows, kBlockRows); }

// body(i) for i < count, each of some `elements`, in tasks of at least kGrain elements
template <class F>
void for_each(int64_t count, int64_t elements, const F& body) {
  const int64_t per_task = elements < kGrain ? kGrain / (elements + 1) : 1;
  parallel_for((count + per_task - 1) / per_task, [&](int64_t task, int) {
    for (int64_t i = task * per_task; i < least((task + 1) * per_task, count); ++i) body(i);
  });
}

template <int N>
struct Strip {
  static constexpr int vectors = N;
};

// body(strip, k, at) over c columns: four vectors at a time, then one.
template <class T, class F>
PYDIFF_INLINE void for_strips(int64_t c, const F& body) {
  constexpr int width = Vec<T>::width;
  int64_t k = 0;
  for (; k + 4 * width <= c; k += 4 * width) body(Strip<4>{}, k, All{});
  for_lanes<T>(c - k, [&](int64_t i, auto at) { body(Strip<1>{}, k + i, at); });
}

// Column sums over `rows` rows: sums[i] (c,) = sum over r of term(r, k, at)[i], i < count.
template <class T, int count, class F>
PYDIFF_INLINE void column_sums(int64_t rows, int64_t c, T* const (&sums)[count], const F& term) {
  for_strips<T>(c, [&](auto strip, int64_t k, auto at) {
    constexpr int vectors = decltype(strip)::vectors;
    Vec<T> acc[vectors][count];
    for (int v = 0; v < vectors; ++v)
      for (int i = 0; i < count; ++i) acc[v][i] = zero<T>();
    for (int64_t r = 0; r < rows; ++r)
      for (int v = 0; v < vectors; ++v) term(r, k + v * Vec<T>::width, at, acc[v]);
    for (int v = 0; v < vectors; ++v)
      for (int i = 0; i < count; ++i) store(sums[i] + k + v * Vec<T>::width, acc[v][i], at);
  });
}

template <class T, class At>
PYDIFF_INLINE Vec<T> load_or_one(const T* p, int64_t k, At at) {
  return p != nullptr ? load(p + k, at) : set1<T>(1);
}

// One row x (c,) -> y (c,) and its statistics: sums about a first mean, which cost no digits
template <class T>
PYDIFF_FLATTEN void normalise_row(const LayerNormArgs<T>& g, int64_t row) {
  const T* x = g.x + row * g.c;
  T* y = g.y + row * g.c;
  const double count = static_cast<double>(g.c);
  const T about = static_cast<T>(
      sum_terms<T>(g.c, [&](int64_t k, auto at) { return load(x + k, at); }) / count);
  const Vec<T> centre = set1<T>(about);
  const double rest =
      sum_terms<T>(g.c, [&](int64_t k, auto at) { return load(x + k, at) - centre; });
  const double squares = sum_terms<T>(g.c, [&](int64_t k, auto at) {
    const Vec<T> d = load(x + k, at) - centre;
    return d * d;
  });
  const double variance = (squares - rest * rest / count) / count;
  const T mean = static_cast<T>(about + rest / count);
  const T rstd = static_cast<T>(1 / __builtin_sqrt(variance + g.eps));
  if (g.mean != nullptr) g.mean[row] = mean;
  if (g.rstd != nullptr) g.rstd[row] = rstd;
  for_lanes<T>(g.c, [&](int64_t k, auto at) {
    const Vec<T> bias = g.bias != nullptr ? load(g.bias + k, at) : zero<T>();
    const Vec<T> xhat = (load(x + k, at) - set1<T>(mean)) * set1<T>(rstd);
    store(y + k, fma(xhat, load_or_one(g.weight, k, at), bias), at);
  });
}

// x (rows, c) -> y (rows, c), mean (rows,), rstd (rows,)
template <class T>
void layer_norm_impl(const LayerNormArgs<T>& g) {
  if (g.c == 0) return;
  for_each(blocks_of(g.rows), least(g.rows, kBlockRows) * g.c, [&](int64_t task) {
    const int64_t first = task * kBlockRows;
    for (int64_t row = first; row < least(first + kBlockRows, g.rows); ++row) normalise_row(g, row);
  });
}

// dx of one row: rstd (g - mean(g) - xhat mean(g xhat)) with g = dy weight
template <class T>
PYDIFF_FLATTEN void layer_norm_row(const LayerNormBackwardArgs<T>& g, int64_t row) {
  const T *x = g.x + row * g.c, *dy = g.dy + row * g.c;
  T* dx = g.dx + row * g.c;
  const Vec<T> mean = set1<T>(g.mean[row]), rstd = set1<T>(g.rstd[row]);
  const auto weighted = [&](int64_t k, auto at) {
    return load(dy + k, at) * load_or_one(g.weight, k, at);
  };
  const auto xhat = [&](int64_t k, auto at) { return (load(x + k, at) - mean) * rstd; };
  const Vec<T> g_mean = set1<T>(sum_terms<T>(g.c, weighted) / T(g.c));
  const Vec<T> g_xhat_mean =
      set1<T>(sum_terms<T>(g.c, [&](int64_t k, auto at) { return weighted(k, at) * xhat(k, at); }) /
              T(g.c));
  for_lanes<T>(g.c, [&](int64_t k, auto at) {
    const Vec<T> d = fnma(xhat(k, at), g_xhat_mean, weighted(k, at) - g_mean);
    store(dx + k, rstd * d, at);
  });
}

// dx (rows, c), dweight and dbias (c,) from dy, x and the saved statistics
template <class T>
void layer_norm_backward_impl(const LayerNormBackwardArgs<T>& g) {
  const int64_t blocks = blocks_of(g.rows);
  const bool affine = g.dweight != nullptr;
  const Scratch partials(checked_bytes(affine ? blocks * 2 * g.c : 0, sizeof(T)));
  T* const partial = partials.template as<T>();
  for_each(g.c == 0 ? 0 : blocks, least(g.rows, kBlockRows) * g.c, [&](int64_t task) {
    const int64_t first = task * kBlockRows, rows = least(kBlockRows, g.rows - first);
    for (int64_t r = 0; r < rows; ++r) layer_norm_row(g, first + r);
    if (!affine) return;
    T* const p = partial + task * 2 * g.c;
    column_sums<T>(rows, g.c, {p, p + g.c}, [&](int64_t r, int64_t k, auto at, Vec<T>(&acc)[2]) {
      const int64_t row = first + r;
      const Vec<T> dy = load(g.dy + row * g.c + k, at);
      const Vec<T> d = load(g.x + row * g.c + k, at) - set1<T>(g.mean[row]);
      acc[0] = acc[0] + dy;
      acc[1] = fma(dy, d * set1<T>(g.rstd[row]), acc[1]);
    });
  });
  for (int64_t k = 0; affine && k < g.c; ++k) {
    double dbias = 0, dweight = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      dbias += partial[b * 2 * g.c + k];
      dweight += partial[(b * 2 + 1) * g.c + k];
    }
    g.dbias[k] = static_cast<T>(dbias);
    g.dweight[k] = static_cast<T>(dweight);
  }
}

}  // namespace

void layer_norm(const LayerNormArgs<float>& args) { layer_norm_impl(args); }
void layer_norm(const LayerNormArgs<double>& args) { layer_norm_impl(args); }
void layer_norm_backward(const LayerNormBackwardArgs<float>& args) {
  layer_norm_backward_impl(args);
}
void layer_norm_backward(const LayerNormBackwardArgs<double>& args) {
  layer_norm_backward_impl(args);
}

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
