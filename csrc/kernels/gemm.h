// The register-blocked product that matmul, conv2d and attention share.
//
// c (m, n) = a (m, k) b (k, n): vectors run along n, and every element of c is one chain of fma
// over k in order. Blocks of k continue the chain from c. So the bits depend neither on the blocks
// nor on the vector width nor on the threads.
//
// Floor per core and cycle: two fma of one vector. A tile of R x 2 vectors needs R + 2 loads for
// 2R fma, and 2R >= 8 independent chains hide the latency of 4 cycles.
#pragma once
#include "core/args.h"
#include "core/parallel.h"
#include "simd/math.h"

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
  // Rows of b per block. A panel of them, 128 KB, comes from the second-level cache in time, and c
  // passes the registers a quarter as often as with panels for the first: 1024^3 in 4.33 ms, not
  // 4.50. A column of a brings a whole cache line per step: few rows keep those lines close.
  static constexpr int depth = 131072 / (cols * static_cast<int>(sizeof(T))),
                       near_depth = depth / 8;
};

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
  bool add;          // continue from c
  const T* bias;     // added at the end, or null
  const char* next;  // what later tiles will read: fetched ahead, one line per step
};

// c (R, NV vectors) = [c +] a b [+ bias]
template <class T, bool kColumns, int NV, int R>
__attribute__((noinline)) void tile(const TileArgs<T>& t) {
  constexpr int width = Vec<T>::width;
  Vec<T> acc[R][NV];
  PYDIFF_UNROLL for (int r = 0; r < R; ++r) {
    PYDIFF_UNROLL for (int j = 0; j < NV; ++j) {
      acc[r][j] = t.add ? load(t.c + r * t.ldc + j * width) : zero<T>();
    }
  }
  // Four rows share a pointer that the compiler cannot derive from the others: x86 then addresses
  // all rows from few registers, where it would spill one stride per row.
  constexpr int quads = (R + 3) / 4;
  const T* a[quads];
  PYDIFF_UNROLL for (int q = 0; q < quads; ++q) {
    a[q] = t.a + (kColumns ? 4 * q : 4 * q * t.lda);
    if (!kColumns) __asm__("" : "+r"(a[q]));
  }
  const T* b = t.b;
  const char* next = t.next;
  const int64_t lda = t.lda, ldb = t.ldb;
  for (int64_t i = t.k; i > 0; --i) {
    Vec<T> bv[NV];
    PYDIFF_UNROLL for (int j = 0; j < NV; ++j) bv[j] = load(b + j * width);
    PYDIFF_UNROLL for (int r = 0; r < R; ++r) {
      const Vec<T> av = set1<T>(a[r / 4][kColumns ? r % 4 : r % 4 * lda]);
      PYDIFF_UNROLL for (int j = 0; j < NV; ++j) acc[r][j] = fma(av, bv[j], acc[r][j]);
    }
    PYDIFF_UNROLL for (int q = 0; q < quads; ++q) a[q] += kColumns ? lda : 1;
    b += ldb;
    __builtin_prefetch(next, 0, 2);
    next += 64;
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

// Part of an operand. `next`, where not null, is what to fetch ahead: the rows of a that follow, or
// the next panel of b.
template <class T>
struct View {
  const T* p;
  int64_t ld;
  const T* next = nullptr;
};

template <class T>
constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));  // elements in a line of the cache

template <class T>
PYDIFF_INLINE int64_t panels(int64_t n) {
  return ceil_div(n, Tile<T>::cols);
}

// b of a product as a function (j, i, d): the columns from j on, at most Tile::cols of them, of the
// rows i .. i + d, padded to Tile::cols. Here: b (k, n) packed beforehand by pack_panel.
template <class T>
struct Packed {
  const T* p;
  int64_t k;
  PYDIFF_INLINE View<T> operator()(int64_t j, int64_t i, int64_t) const {
    const T* panel = p + j * k + i * Tile<T>::cols;
    return {panel, Tile<T>::cols, panel + k * Tile<T>::cols};
  }
};

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
    // Short pieces of rows far apart: more than the hardware foresees.
    const T* soon = b + least(i + 16, k - 1) * ldb;
    __builtin_prefetch(soon);
    __builtin_prefetch(soon + cols - 1);
    if (cols < ld) {
      for (int j = 0; j < ld; j += Vec<T>::width) store(row + j, zero<T>());
    }
    for_lanes<T>(cols, [&](int64_t j, auto at) { store(row + j, load(b + i * ldb + j, at), at); });
  }
}

// Packs b (k, n) whole, as Packed reads it.
template <class T>
void pack_b(int64_t k, int64_t n, const T* b, int64_t ldb, bool transposed, T* to) {
  constexpr int64_t cols = Tile<T>::cols;
  const int64_t chunk = most(1, 16384 / most(1, k * cols));  // panels per task
  parallel_for(ceil_div(panels<T>(n), chunk), [&](int64_t task, int) {
    for (int64_t j = task * chunk * cols; j < least((task + 1) * chunk * cols, n); j += cols)
      pack_panel(k, least(cols, n - j), b + j * (transposed ? ldb : 1), ldb, transposed,
                 to + j * k);
  });
}

// b (k, n) of a task that meets it once: few rows read it where it lies, more pack each block of a
// panel into `panel`.
template <class T>
struct OwnB {
  const T* b;
  int64_t ldb;
  bool transposed;
  int64_t m, n;
  T* panel;
  PYDIFF_INLINE View<T> operator()(int64_t j, int64_t i, int64_t depth) const {
    const int64_t cols = least(Tile<T>::cols, n - j);
    if (!transposed && m <= 2 * Tile<T>::rows && cols == Tile<T>::cols)
      return {b + i * ldb + j, ldb};
    pack_panel(depth, cols, b + (transposed ? j * ldb + i : i * ldb + j), ldb, transposed, panel);
    return {panel, Tile<T>::cols};
  }
};

template <class T>
PYDIFF_INLINE void copy_row(int64_t n, const T* from, T* to) {
  for_lanes<T>(n, [&](int64_t i, auto at) { store(to + i, load(from + i, at), at); });
}
template <class T>
PYDIFF_INLINE void fill_zero(int64_t n, T* to) {
  for_lanes<T>(n, [&](int64_t i, auto at) { store(to + i, zero<T>(), at); });
}

// Rows of b per block, of k, in a task that copies its rows of a, whose part for a block is to stay
// in the second-level cache: 256 KB. Copies lie a cache line further apart than they are deep.
template <class T>
struct CopiedRows {
  int64_t depth, ld;
  CopiedRows(int64_t rows, int64_t k) {
    constexpr int64_t all = 262144 / sizeof(T);
    constexpr int64_t longest = Tile<T>::depth, shortest = longest / 4;
    depth = most(shortest, least(longest, all / most(1, rows) / kLine<T> * kLine<T>));
    depth = least(depth, ceil_div(k, kLine<T>) * kLine<T>);
    ld = depth + kLine<T>;
  }
};

// c (m, n) = [c +] a b (+ bias) with a_at(i, d) for the columns i .. i + d of a, as rows or
// columns, and at most `block` of them at a time.
template <class T, bool kColumns, class A, class B>
void product(int64_t m, int64_t n, int64_t k, const A& a_at, const B& b_at, T* c, int64_t ldc,
             bool add, const T* bias,
             int64_t block = kColumns ? Tile<T>::near_depth : Tile<T>::depth) {
  int64_t i = 0;
  do {
    const int64_t depth = least(block, k - i);
    const View<T> a = a_at(i, depth);
    const bool last = i + depth == k;
    const int64_t a_step = kColumns ? 1 : a.ld;
    for (int64_t j = 0; j < n; j += Tile<T>::cols) {
      const View<T> b = b_at(j, i, depth);
      const T* add_bias = last && bias != nullptr ? bias + j : nullptr;
      TileArgs<T> t{depth, a.p, a.ld, b.p, b.ld, c + j, ldc, add || i > 0, add_bias, nullptr};
      const int cols = static_cast<int>(least(Tile<T>::cols, n - j));
      const T* next_b = b.next == nullptr ? b.p : b.next;
      // Behind the last panel lies another task's; what comes next is further down the first one.
      if (b.next != nullptr && j + Tile<T>::cols >= n && !last) next_b = b_at(0, i + depth, 0).p;
      // Even shares: 64 rows are 13 + 13 + 13 + 13 + 12, which all hide the latency of fma.
      for (int64_t row = 0, left = ceil_div(m, Tile<T>::rows); row < m; --left) {
        const int rows = static_cast<int>(ceil_div(m - row, left));
        t.next = reinterpret_cast<const char*>(a.next == nullptr ? next_b : t.a + rows * a_step);
        any_tile<T, kColumns>(rows, cols, t);
        // What follows an unpacked b may be another thread's.
        if (b.next != nullptr) next_b += depth * kLine<T>;
        t.a += rows * a_step;
        t.c += rows * ldc;
        row += rows;
      }
    }
    i += depth;
  } while (i < k);
}

// What follows a product: y = act(scale * (y + add + residual)). Row r belongs to image
// r / image_rows, whose row of `add` it takes; add and residual may be null.
template <class T>
struct Epilogue {
  const T *add, *residual;
  int64_t image_rows, ld_add, ld_residual;
  T scale;
  Activation act;

  bool empty() const { return add == nullptr && residual == nullptr && scale == 1 && act == kNone; }

  // y (rows, cols) is the part of the whole from (row, col) on, still in the cache.
  void apply(int64_t row, int64_t rows, int64_t col, int64_t cols, T* y, int64_t ldy) const {
    if (empty()) return;
    const Vec<T> factor = set1<T>(scale);
    for (int64_t r = 0; r < rows; ++r, y += ldy) {
      const T* image = add == nullptr ? nullptr : add + (row + r) / image_rows * ld_add + col;
      const T* other = residual == nullptr ? nullptr : residual + (row + r) * ld_residual + col;
      for_lanes<T>(cols, [&](int64_t j, auto at) {
        Vec<T> z = load(y + j, at);
        if (image != nullptr) z = z + load(image + j, at);
        if (other != nullptr) z = z + load(other + j, at);
        z = z * factor;
        store(y + j, act == kSilu ? silu(z) : z, at);
      });
    }
  }
};

// c (m, n) cut into tasks of rows x cols.
struct Grid {
  int64_t rows, cols, row_tasks, col_tasks;
};

// Tasks of at most 16 x 32 tiles. Fewer than 4, 8 or 16 tasks of more than four megaflops are cut
// further: rows first, down to four tiles, since tasks that share rows copy a twice; then columns,
// then rows.
template <class T>
Grid grid(int64_t batch, int64_t m, int64_t n, int64_t k) {
  constexpr int64_t tile_rows = Tile<T>::rows, tile_cols = Tile<T>::cols;
  // Few rows: each task copies all of them. Many: the last task of a thread leaves others waiting.
  const int64_t tasks = m <= 2 * tile_rows ? 4 : m <= 16 * tile_rows ? 8 : 16;
  Grid g;
  const auto small = [&] { return g.rows * g.cols * k <= (1 << 21); };
  const auto cut = [&](int64_t row_tasks, int64_t col_tasks) {
    g.rows = ceil_div(m, row_tasks);
    g.cols = ceil_div(panels<T>(n), col_tasks) * tile_cols;
    g.row_tasks = ceil_div(m, g.rows);
    g.col_tasks = ceil_div(n, g.cols);
  };
  cut(ceil_div(m, 16 * tile_rows), ceil_div(panels<T>(n), 32));
  const auto missing = [&](int64_t other) { return ceil_div(tasks, batch * other); };
  if (!small())
    cut(most(g.row_tasks, least(missing(g.col_tasks), m / (4 * tile_rows))), g.col_tasks);
  if (!small()) cut(g.row_tasks, most(g.col_tasks, least(missing(g.row_tasks), panels<T>(n))));
  if (!small())
    cut(most(g.row_tasks, least(missing(g.col_tasks), ceil_div(m, tile_rows))), g.col_tasks);
  return g;
}

// to (n,) = the sum of parts (count, n), in order
template <class T>
void sum_parts(int64_t count, int64_t n, const T* parts, T* to) {
  constexpr int64_t chunk = 4096;
  parallel_for(ceil_div(n, chunk), [&](int64_t task, int) {
    const int64_t first = task * chunk;
    for_lanes<T>(least(chunk, n - first), [&](int64_t i, auto at) {
      Vec<T> sum = load(parts + first + i, at);
      for (int64_t part = 1; part < count; ++part)
        sum = sum + load(parts + part * n + first + i, at);
      store(to + first + i, sum, at);
    });
  });
}

// Parts into which a product (m, n) of great depth k is cut to have 16 tasks, by shape alone and
// alike for every instruction set, since the sums depend on it.
PYDIFF_INLINE int64_t depth_parts(int64_t m, int64_t n, int64_t k) {
  const int64_t blocks = ceil_div(m, 224) * ceil_div(n, 512);
  return most(1, least(ceil_div(16, blocks), k / 512));
}

}  // namespace

void matmul(const MatmulArgs<float>& args);
void matmul(const MatmulArgs<double>& args);

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
