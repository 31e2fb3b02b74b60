// The register-blocked product that matmul, conv2d and attention share.
//
// c (m, n) = a (m, k) b (k, n): vectors run along n, and every element of c is one chain of fma
// over k in order. Blocks of k continue the chain from c. So the bits depend neither on the blocks
// nor on the vector width nor on the threads.
//
// Floor per core and cycle: two fma of one vector. A tile of R x 2 vectors needs R + 2 loads for
// 2R fma, and 2R >= 8 independent chains hide the latency of 4 cycles.
#pragma once
#include "core/parallel.h"
#include "simd/simd.h"

#define PYDIFF_UNROLL _Pragma("GCC unroll 16")

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// The accumulators fill the registers: 14 x 2 of 32 with AVX-512, 6 x 2 of 16 with AVX2; without
// fma a product needs one register more.
template <class T>
struct Tile {
  static constexpr int width = Vec<T>::width;
  static constexpr int bytes = width * static_cast<int>(sizeof(T));
  static constexpr int rows = bytes == 64 ? 14 : bytes == 32 ? 6 : 4;
  static constexpr int cols = 2 * width;
  // Rows of b per block: a panel of 32 KB stays in the first-level cache.
  static constexpr int depth = 32768 / (cols * static_cast<int>(sizeof(T)));
};

PYDIFF_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
PYDIFF_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
PYDIFF_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Element (r, i) of a is at a[r * lda + i], or a[i * lda + r] where the template says columns.
template <class T>
struct TileArgs {
  int64_t k;
  const T* a;
  int64_t lda;
  const T* b;
  int64_t ldb;
  T* c;
  int64_t ldc;
  bool add;       // continue from c
  const T* bias;  // added at the end, or null
};

// c (R, NV vectors) = [c +] a b [+ bias]
template <class T, bool kColumns, int NV, int R>
__attribute__((noinline)) void tile(const TileArgs<T>& t) {
  constexpr int width = Vec<T>::width;
  Vec<T> acc[R][NV];
  PYDIFF_UNROLL for (int r = 0; r < R; ++r) {
    PYDIFF_UNROLL for (int j = 0; j < NV; ++j)
        acc[r][j] = t.add ? load(t.c + r * t.ldc + j * width) : zero<T>();
  }
  const T* a = t.a;
  const T* b = t.b;
  const int64_t lda = t.lda, ldb = t.ldb;
  for (int64_t i = t.k; i > 0; --i) {
    Vec<T> bv[NV];
    PYDIFF_UNROLL for (int j = 0; j < NV; ++j) bv[j] = load(b + j * width);
    PYDIFF_UNROLL for (int r = 0; r < R; ++r) {
      const Vec<T> av = set1<T>(a[kColumns ? r : r * lda]);
      PYDIFF_UNROLL for (int j = 0; j < NV; ++j) acc[r][j] = fma(av, bv[j], acc[r][j]);
    }
    a += kColumns ? lda : 1;
    b += ldb;
  }
  if (t.bias != nullptr) {
    PYDIFF_UNROLL for (int j = 0; j < NV; ++j) {
      const Vec<T> bias = load(t.bias + j * width);
      PYDIFF_UNROLL for (int r = 0; r < R; ++r) acc[r][j] = acc[r][j] + bias;
    }
  }
  PYDIFF_UNROLL for (int r = 0; r < R; ++r) {
    PYDIFF_UNROLL for (int j = 0; j < NV; ++j) store(t.c + r * t.ldc + j * width, acc[r][j]);
  }
}

template <class T, bool kColumns, int NV, int R = Tile<T>::rows>
PYDIFF_INLINE void tile_of(int rows, const TileArgs<T>& t) {
  if constexpr (R > 1) {
    if (rows != R) return tile_of<T, kColumns, NV, R - 1>(rows, t);
  }
  tile<T, kColumns, NV, R>(t);
}

// The same for `cols` columns of c that do not fill the vectors: through a buffer.
template <class T, bool kColumns, int NV>
void ragged_tile(int rows, int cols, const TileArgs<T>& t) {
  constexpr int width = Vec<T>::width, ld = NV * width;
  T buffer[Tile<T>::rows * ld];
  T bias[ld] = {};
  for (int r = 0; r < rows && t.add; ++r) {
    T* to = buffer + r * ld;
    for (int j = 0; j < ld; ++j) to[j] = j < cols ? t.c[r * t.ldc + j] : T(0);
  }
  for (int j = 0; j < cols && t.bias != nullptr; ++j) bias[j] = t.bias[j];
  TileArgs<T> whole = t;
  whole.c = buffer;
  whole.ldc = ld;
  whole.bias = t.bias != nullptr ? bias : nullptr;
  tile_of<T, kColumns, NV>(rows, whole);
  for (int r = 0; r < rows; ++r) {
    for_lanes<T>(cols, [&](int64_t j, auto lanes) {
      store(t.c + r * t.ldc + j, load(buffer + r * ld + j), lanes);
    });
  }
}

template <class T, bool kColumns>
PYDIFF_INLINE void any_tile(int rows, int cols, const TileArgs<T>& t) {
  constexpr int width = Vec<T>::width;
  if (cols == 2 * width) return tile_of<T, kColumns, 2>(rows, t);
  if (cols == width) return tile_of<T, kColumns, 1>(rows, t);
  if (cols > width) return ragged_tile<T, kColumns, 2>(rows, cols, t);
  ragged_tile<T, kColumns, 1>(rows, cols, t);
}

// b (k, n) as panels of Tile::cols columns: panel j begins at p + j * stride, its rows are ld
// apart. Panels from `full` on are at `tail`: the ragged last one of a b that was not packed.
template <class T>
struct Panels {
  const T* p;
  int64_t stride, ld;
  int64_t full;
  const T* tail;

  Panels at(int64_t panel, int64_t row) const {
    constexpr int cols = Tile<T>::cols;
    return {p + panel * stride + row * ld, stride, ld, most(full - panel, 0),
            tail == nullptr ? nullptr : tail + row * cols};
  }
};

template <class T>
PYDIFF_INLINE int64_t panels(int64_t n) {
  return ceil_div(n, Tile<T>::cols);
}

template <class T>
PYDIFF_INLINE Panels<T> packed(const T* p, int64_t k) {
  return {p, k * Tile<T>::cols, Tile<T>::cols, INT64_MAX, nullptr};
}

// to (k, Tile::cols) = columns 0 .. cols of b (k, .), zero beyond; b is stored (., k) if transposed
template <class T>
void pack_panel(int64_t k, int64_t cols, const T* b, int64_t ldb, bool transposed, T* to) {
  constexpr int ld = Tile<T>::cols;
  if (transposed) {
    constexpr int64_t step = 64 / sizeof(T);  // one cache line of every column at a time
    for (int64_t i0 = 0; i0 < k; i0 += step) {
      const int64_t i1 = least(i0 + step, k);
      for (int64_t j = 0; j < ld; ++j)
        for (int64_t i = i0; i < i1; ++i) to[i * ld + j] = j < cols ? b[j * ldb + i] : T(0);
    }
    return;
  }
  for (int64_t i = 0; i < k; ++i) {
    T* row = to + i * ld;
    if (cols < ld) {
      for (int j = 0; j < ld; j += Vec<T>::width) store(row + j, zero<T>());
    }
    for_lanes<T>(cols,
                 [&](int64_t j, auto at) { store(row + j, load(b + i * ldb + j, at), at); });
  }
}

// c (m, n) = [c +] a (m, k) b (k, n) [+ bias (n,)], k at most a few Tile::depth
template <class T, bool kColumns>
void block(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const Panels<T>& b, T* c,
           int64_t ldc, bool add, const T* bias) {
  constexpr int step = Tile<T>::cols;
  for (int64_t j = 0, panel = 0; j < n; j += step, ++panel) {
    const bool full = panel < b.full;
    TileArgs<T> t{k, a, lda, full ? b.p + panel * b.stride : b.tail, full ? b.ld : step, c + j,
                  ldc, add, bias == nullptr ? nullptr : bias + j};
    const int cols = static_cast<int>(least(step, n - j));
    // Even shares: 64 rows are 13 + 13 + 13 + 13 + 12, which all hide the latency of fma.
    for (int64_t i = 0, left = ceil_div(m, Tile<T>::rows); i < m; --left) {
      const int rows = static_cast<int>(ceil_div(m - i, left));
      t.a = a + i * (kColumns ? 1 : lda);
      t.c = c + i * ldc + j;
      any_tile<T, kColumns>(rows, cols, t);
      i += rows;
    }
  }
}

template <class T>
struct View {
  const T* p;
  int64_t ld;
};

// c (m, n) = a b (+ bias): a_at(i, d) gives the columns i .. i + d of a, as rows or as columns.
template <class T, bool kColumns, class A>
void product(int64_t m, int64_t n, int64_t k, const A& a_at, const Panels<T>& b, T* c, int64_t ldc,
             const T* bias) {
  int64_t i = 0;
  do {
    const int64_t depth = least(Tile<T>::depth, k - i);
    const View<T> a = a_at(i, depth);
    const bool last = i + depth == k;
    block<T, kColumns>(m, n, depth, a.p, a.ld, b.at(0, i), c, ldc, i > 0, last ? bias : nullptr);
    i += depth;
  } while (i < k);
}

// c (m, n) cut into tasks of rows x cols.
struct Grid {
  int64_t rows, cols, row_tasks, col_tasks;
};

// Tasks of at most 16 x 16 tiles (a: 14 * 16 rows * depth = 229 KB, which the second-level cache
// holds), halved while they are fewer than 16 and hold more than a megaflop.
template <class T>
Grid grid(int64_t batch, int64_t m, int64_t n, int64_t k) {
  constexpr int tile_rows = Tile<T>::rows, tile_cols = Tile<T>::cols;
  int64_t rows = least(16, ceil_div(m, tile_rows)), cols = least(16, panels<T>(n));
  Grid g;
  for (;;) {
    g.rows = rows * tile_rows;
    g.cols = cols * tile_cols;
    g.row_tasks = ceil_div(m, g.rows);
    g.col_tasks = ceil_div(n, g.cols);
    const bool enough = batch * g.row_tasks * g.col_tasks >= 16;
    if (enough || g.rows * g.cols * k <= (1 << 19) || rows * cols == 1) return g;
    (rows >= cols ? rows : cols) = (most(rows, cols) + 1) / 2;
  }
}

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
