// Matrix products: kernels/gemm.h inside cache blocks and tasks.
#include "kernels/gemm.h"

#include "core/args.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// Rows of c up to which b is read where it lies: packing it would cost more than it saves.
template <class T>
constexpr int64_t kDirectRows = 2 * Tile<T>::rows;

// Packs b of batch items [first, first + count) into `to`, one panel after the other.
template <class T>
void pack_b(const MatmulArgs<T>& g, int64_t first, int64_t count, T* to) {
  constexpr int cols = Tile<T>::cols;
  const int64_t per_item = panels<T>(g.n), ldb = g.transpose_b ? g.k : g.n;
  const int64_t chunk = most(1, 16384 / most(1, g.k * cols));  // panels per task
  parallel_for(ceil_div(count * per_item, chunk), [&](int64_t task, int) {
    for (int64_t i = task * chunk; i < least((task + 1) * chunk, count * per_item); ++i) {
      const int64_t item = first + i / per_item, j = i % per_item * cols;
      const T* b = g.b + item * g.b_batch + j * (g.transpose_b ? g.k : 1);
      pack_panel(g.k, least(cols, g.n - j), b, ldb, g.transpose_b, to + i * g.k * cols);
    }
  });
}

// b of one item where it lies; only a ragged last panel is packed, into `tail`.
template <class T>
Panels<T> direct_b(const MatmulArgs<T>& g, const T* b, T* tail) {
  constexpr int cols = Tile<T>::cols;
  const int64_t full = g.n / cols;
  if (full * cols < g.n) pack_panel(g.k, g.n - full * cols, b + full * cols, g.n, false, tail);
  return {b, cols, g.n, full, tail};
}

// One task: c (m, n) of a (m, k) or, transposed, (k, m) where both are parts of larger matrices.
// Strided tiles would meet in few cache sets: rows are copied a line further apart than they are
// deep, columns tile by tile... unless they are used once only.
template <class T>
void multiply(int64_t m, int64_t n, const MatmulArgs<T>& g, const T* a, const Panels<T>& b, T* c,
              const T* bias, T* copy) {
  constexpr int64_t depth = Tile<T>::depth, line = 64 / sizeof(T);
  const bool reused = n > 2 * Tile<T>::cols;
  if (g.transpose_a) {
    product<T, true>(
        m, n, g.k,
        [&](int64_t i, int64_t d) -> View<T> {
          const T* from = a + i * g.m;
          if (!reused) return {from, g.m};
          for (int64_t r = 0; r < d; ++r)
            for_lanes<T>(m, [&](int64_t j, auto at) {
              store(copy + r * m + j, load(from + r * g.m + j, at), at);
            });
          return {copy, m};
        },
        b, c, g.n, bias);
    return;
  }
  product<T, false>(
      m, n, g.k,
      [&](int64_t i, int64_t d) -> View<T> {
        const T* from = a + i;
        if (!reused) return {from, g.k};
        for (int64_t r = 0; r < m; ++r)
          for_lanes<T>(d, [&](int64_t j, auto at) {
            store(copy + r * (depth + line) + j, load(from + r * g.k + j, at), at);
          });
        return {copy, depth + line};
      },
      b, c, g.n, bias);
}

// c[i] (m, n) = op(a[i]) op(b[i]) (+ bias (n,)); see MatmulArgs for the shapes.
// Floor: 2 m n k flops at two fma a cycle; a, b and c once through memory.
template <class T>
void matmul_impl(MatmulArgs<T> g) {
  if (g.batch == 0 || g.m == 0 || g.n == 0) return;
  if (g.batch > 1 && g.b_batch == 0 && !g.transpose_a && g.a_batch == g.m * g.k) {
    g.m *= g.batch;  // one b for all: a tall matrix
    g.batch = 1;
  }
  if (g.batch == 1) g.b_batch = 0;

  constexpr int cols = Tile<T>::cols;
  constexpr int64_t copy_ld = Tile<T>::depth + 64 / sizeof(T);
  const bool direct = g.m <= kDirectRows<T> && !g.transpose_b;
  const Grid cut = grid<T>(g.batch, g.m, g.n, g.k);
  const int64_t item_panels = panels<T>(g.n), per_item = item_panels * g.k * cols;
  const int64_t items = g.b_batch == 0 ? 1 : g.batch;
  // Batches go in groups whose packed b stay below 64 MB.
  const int64_t group = g.b_batch == 0
                            ? g.batch
                            : most(1, least(items, (64 << 20) / int64_t(sizeof(T)) /
                                                       most(1, per_item)));
  const int64_t b_items = g.b_batch == 0 ? 1 : group;
  const Scratch b_scratch(checked_bytes(direct ? b_items * g.k * cols : b_items * per_item,
                                        sizeof(T)));
  const int64_t per_thread = cut.rows * copy_ld;
  const Scratch a_scratch(checked_bytes(num_threads() * per_thread, sizeof(T)));
  T* packed_b = b_scratch.template as<T>();

  for (int64_t first = 0; first < g.batch; first += group) {
    const int64_t count = least(group, g.batch - first);
    if (direct) {
      for (int64_t i = 0; i < least(count, b_items); ++i)
        direct_b(g, g.b + (first + i) * g.b_batch, packed_b + i * g.k * cols);
    } else {
      pack_b(g, first, least(count, b_items), packed_b);
    }
    parallel_for(count * cut.row_tasks * cut.col_tasks, [&](int64_t task, int thread) {
      const int64_t col = task % cut.col_tasks * cut.cols;
      const int64_t row = task / cut.col_tasks % cut.row_tasks * cut.rows;
      const int64_t i = task / cut.col_tasks / cut.row_tasks, item = first + i;
      const int64_t slot = g.b_batch == 0 ? 0 : i;
      const Panels<T> b =
          direct ? Panels<T>{g.b + item * g.b_batch, cols, g.n, g.n / cols,
                             packed_b + slot * g.k * cols}
                 : packed(packed_b + slot * per_item, g.k);
      const T* a = g.a + item * g.a_batch + row * (g.transpose_a ? 1 : g.k);
      multiply(least(cut.rows, g.m - row), least(cut.cols, g.n - col), g, a, b.at(col / cols, 0),
               g.c + item * g.m * g.n + row * g.n + col, g.bias == nullptr ? nullptr : g.bias + col,
               a_scratch.template as<T>() + thread * per_thread);
    });
  }
}

}  // namespace

void matmul(const MatmulArgs<float>& args) { matmul_impl(args); }
void matmul(const MatmulArgs<double>& args) { matmul_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
