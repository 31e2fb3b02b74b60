// Matrix products: kernels/gemm.h inside cache blocks and tasks.
#include "kernels/gemm.h"

#include "core/args.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// One task: c (m, n), a part of a larger matrix. Where more than two panels meet a, it is copied:
// its own stride would bring the rows of a tile into few cache sets.
template <class T, class B>
void multiply(int64_t m, int64_t n, const MatmulArgs<T>& g, const T* a, const B& b, T* c,
              const T* bias, const CopiedRows<T>& copied, T* copy) {
  const bool reused = n > 2 * Tile<T>::cols;
  const auto copy_rows = [&](const T* from, int64_t ld, int64_t rows, int64_t cols, int64_t to_ld) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* const soon = from + least(r + 8, rows - 1) * ld;  // rows lie in pages of their own
      for (int64_t i = 0; i < cols; i += kLine<T>) __builtin_prefetch(soon + i);
      copy_row(cols, from + r * ld, copy + r * to_ld);
    }
    return View<T>{copy, to_ld};
  };
  if (g.transpose_a) {
    product<T, true>(
        m, n, g.k,
        [&](int64_t i, int64_t d) {
          if (reused) return copy_rows(a + i * g.lda, g.lda, d, m, m);
          return View<T>{a + i * g.lda, g.lda, a};
        },
        b, c, g.ldc, false, bias);
  } else {
    product<T, false>(
        m, n, g.k,
        [&](int64_t i, int64_t d) {
          if (reused) return copy_rows(a + i, g.lda, m, d, copied.ld);
          return View<T>{a + i, g.lda, a};
        },
        b, c, g.ldc, false, bias, copied.depth);
  }
}

template <class T>
void matmul_impl(MatmulArgs<T> g);

// c = a^T b, the gradient of a weight, where k counts the rows of a batch: `parts` products over
// stretches of k, then their sum.
template <class T>
void multiply_in_parts(const MatmulArgs<T>& g, int64_t parts) {
  const int64_t part = g.k / parts, rest = g.k - part * parts;
  const int64_t size = g.m * g.n;
  const Scratch sums(checked_bytes((parts + 1) * size, sizeof(T)));
  T* const to = sums.template as<T>();
  MatmulArgs<T> item = g;
  item.batch = parts;
  item.k = part;
  item.a_batch = part * g.lda;
  item.b_batch = part * g.n;
  item.c = to;
  item.ldc = g.n;
  matmul_impl(item);
  if (rest > 0) {
    item.batch = 1;
    item.k = rest;
    item.a = g.a + (g.k - rest) * g.lda;
    item.b = g.b + (g.k - rest) * g.n;
    item.c = to + parts * size;
    matmul_impl(item);
  }
  sum_parts(parts + (rest > 0), size, to, g.c);
}

// c[i] (m, n) = act(scale * (op(a[i]) op(b[i]) + bias + residual[i])); see MatmulArgs.
// Floor: 2 m n k flops at two fma a cycle; a, b and c once through memory.
template <class T>
void matmul_impl(MatmulArgs<T> g) {
  if (g.batch == 0 || g.m == 0 || g.n == 0) return;
  const bool dense = g.lda == g.k && g.ldc == g.n;
  if (g.batch > 1 && g.b_batch == 0 && !g.transpose_a && dense && g.a_batch == g.m * g.k) {
    g.m *= g.batch;  // one b for all: a tall matrix
    g.batch = 1;
  }
  const int64_t parts = depth_parts(g.m, g.n, g.k);
  const Epilogue<T> epilogue{nullptr, g.residual, 1, 0, g.ld_residual, g.scale, g.act};
  const bool plain = g.bias == nullptr && epilogue.empty() && g.ldc == g.n;
  if (g.batch == 1 && g.transpose_a && !g.transpose_b && plain && parts > 1)
    return multiply_in_parts(g, parts);
  constexpr int64_t cols = Tile<T>::cols;
  const int64_t ldb = g.transpose_b ? g.k : g.n;
  const bool one_b = g.batch == 1 || g.b_batch == 0;
  const Grid cut = grid<T>(g.batch, g.m, g.n, g.k);
  const bool shared = g.packed != nullptr || cut.row_tasks * (one_b ? g.batch : 1) > 2;

  // Batches go in groups whose packed b stays below 64 MB.
  const int64_t per_item = shared && g.packed == nullptr ? panels<T>(g.n) * cols * g.k : 0;
  const int64_t limit = (64 << 20) / static_cast<int64_t>(sizeof(T)) / most(1, per_item);
  const int64_t group = one_b ? g.batch : most(1, least(g.batch, limit));
  const int64_t b_items = one_b ? 1 : group;
  const CopiedRows<T> copied(cut.rows, g.k);
  const int64_t a_size = cut.rows * copied.ld,
                per_thread = thread_stride<T>(a_size + copied.depth * cols);
  const Scratch b_scratch(checked_bytes(b_items * per_item, sizeof(T)));
  const Scratch scratch(checked_bytes(num_threads() * per_thread, sizeof(T)));
  T* const own_b = b_scratch.template as<T>();
  const T* const all_b = g.packed != nullptr ? g.packed : own_b;
  T* const per_threads = scratch.template as<T>();

  for (int64_t first = 0; first < g.batch; first += group) {
    const int64_t count = least(group, g.batch - first);
    for (int64_t i = 0; per_item > 0 && i < least(count, b_items); ++i)
      pack_b(g.k, g.n, g.b + (first + i) * g.b_batch, ldb, g.transpose_b, own_b + i * per_item);
    parallel_for(count * cut.row_tasks * cut.col_tasks, [&](int64_t task, int thread) {
      const int64_t col = task % cut.col_tasks * cut.cols;
      const int64_t row = task / cut.col_tasks % cut.row_tasks * cut.rows;
      const int64_t slot = task / cut.col_tasks / cut.row_tasks, item = first + slot;
      const int64_t m = least(cut.rows, g.m - row), n = least(cut.cols, g.n - col);
      const T* a = g.a + item * g.a_batch + row * (g.transpose_a ? 1 : g.lda);
      const T* bias = g.bias == nullptr ? nullptr : g.bias + col;
      T* c = g.c + item * g.m * g.n + row * g.ldc + col;
      T* copy = per_threads + thread * per_thread;
      if (shared) {
        const T* b = all_b + (one_b ? 0 : slot) * per_item + col * g.k;
        multiply(m, n, g, a, Packed<T>{b, g.k}, c, bias, copied, copy);
      } else {
        const T* b = g.b + (one_b ? 0 : item) * g.b_batch + col * (g.transpose_b ? g.k : 1);
        multiply(m, n, g, a, OwnB<T>{b, ldb, g.transpose_b, m, n, copy + a_size}, c, bias, copied,
                 copy);
      }
      epilogue.apply(item * g.m + row, m, col, n, c, g.ldc);
    });
  }
}

}  // namespace

void matmul(const MatmulArgs<float>& args) { matmul_impl(args); }
void matmul(const MatmulArgs<double>& args) { matmul_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
