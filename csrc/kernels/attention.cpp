// Multi-head attention with a streaming softmax (Milakov & Gimelshein 2018, arXiv 1805.02867; Dao
// et al. 2022, arXiv 2205.14135): scores exist only as tiles of 128 keys x 64 queries.
//
// Vectors run along the queries: a row of a tile is one key's scores. So maxima and sums over keys
// need no reduction within a vector, and keys and values are read where they lie, unpacked.
//
// Tiles are cut by constants, queries are independent lanes, and sums over keys or queries run in
// order: bits depend neither on threads nor on the instruction set. Floor: 4 tq tk d flops forward,
// 10 backward (two of them recompute the scores), per head.
#include "core/args.h"
#include "kernels/gemm.h"
#include "simd/math.h"
#include "simd/reduce.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kQueries = 64, kKeys = 128;
constexpr int64_t kWholeHeads = 8;  // from so many heads on, each is one task

template <class T>
constexpr T kLog2e = T(1.4426950408889634);

// (t, d) of one image and head inside (n, t, heads * d), rows ld apart
template <class T>
struct HeadView {
  T* p;
  int64_t t, d, ld;
  T* row(int64_t i) const { return p + i * ld; }
};

template <class T>
HeadView<T> head_view(T* p, int64_t pair, int64_t t, int64_t heads, int64_t d, int64_t ld) {
  return {p + pair / heads * t * ld + pair % heads * d, t, d, ld};
}

template <class T>
PYDIFF_INLINE int64_t round_up(int64_t n) {
  return ceil_div(n, Vec<T>::width) * Vec<T>::width;
}

// Rows that are copied lie a cache line further apart than they are wide: strides of 2^n meet in a
// few sets of the cache. Inputs whose rows do so are copied, one head at a time.
template <class T>
PYDIFF_INLINE int64_t copy_stride(int64_t d) {
  return (d / kLanes<T> + 2) * kLanes<T>;
}
template <class T>
bool wants_copy(int64_t ld) {
  return ld * static_cast<int64_t>(sizeof(T)) % 2048 == 0;
}
template <class T>
int64_t copy_size(int64_t t, int64_t d, int64_t ld) {
  return wants_copy<T>(ld) ? t * copy_stride<T>(d) : 0;
}
template <class T>
HeadView<const T> rows_near(const HeadView<const T>& x, T* copy) {
  if (!wants_copy<T>(x.ld)) return x;
  return {copy, x.t, x.d, copy_stride<T>(x.d)};
}
template <class T>
void fill_copy(const HeadView<const T>& x, T* to) {
  if (!wants_copy<T>(x.ld)) return;
  for (int64_t i = 0; i < x.t; ++i)
    for_lanes<T>(x.d, [&](int64_t k, auto at) {
      store(to + i * copy_stride<T>(x.d) + k, load(x.row(i) + k, at), at);
    });
}

// x (t, d) packed for products that sum over d (its transpose), and over t.
template <class T>
int64_t packed_columns(int64_t t, int64_t d) {
  return panels<T>(t) * Tile<T>::cols * d;
}
template <class T>
int64_t packed_rows(int64_t t, int64_t d) {
  return panels<T>(d) * Tile<T>::cols * t;
}
template <class T>
void pack_rows(const HeadView<const T>& x, T* to) {
  for (int64_t j = 0; j < x.d; j += Tile<T>::cols)
    pack_panel(x.t, least(Tile<T>::cols, x.d - j), x.p + j, x.ld, false, to + j * x.t);
}
// One vector's rows of x, transposed and scaled, as columns of a panel: to[k * Tile::cols + i] for
// row i. Rows beyond `rows` are zero.
template <class T>
void transpose_rows(int64_t rows, const T* x, int64_t ld, int64_t d, Vec<T> scale, T* to) {
  constexpr int64_t width = Vec<T>::width, cols = Tile<T>::cols;
  for_lanes<T>(d, [&](int64_t k, auto at) {
    Vec<T> block[width];
    for (int64_t i = 0; i < width; ++i)
      block[i] = i < rows ? load(x + i * ld + k, at) * scale : zero<T>();
    transpose(block);
    for (int64_t i = 0; i < least(width, d - k); ++i) store(to + (k + i) * cols, block[i]);
  });
}
// rows [first, first + count) of x, transposed and scaled
template <class T>
void pack_columns(const HeadView<const T>& x, int64_t first, int64_t count, T scale, T* to) {
  constexpr int64_t width = Vec<T>::width, cols = Tile<T>::cols;
  for (int64_t j = 0; j < panels<T>(count) * cols; j += width)
    transpose_rows(count - j, x.row(first + j), x.ld, x.d, set1<T>(scale),
                   to + j / cols * cols * x.d + j % cols);
}

// c (m, n) = [c +] a (m, k) b, a stored as rows, or as columns for the transpose
template <bool kColumns, class T, class B>
void multiply(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const B& b, T* c,
              int64_t ldc, bool add) {
  product<T, kColumns>(
      m, n, k, [&](int64_t i, int64_t) -> View<T> { return {a + i * (kColumns ? lda : 1), lda}; },
      b, c, ldc, add, nullptr);
}

// b of a product, read where it lies: columns come in whole vectors
template <class T>
struct Unpacked {
  const T* p;
  int64_t ld;
  PYDIFF_INLINE View<T> operator()(int64_t j, int64_t i, int64_t) const {
    return {p + i * ld + j, ld};
  }
};

// b packed and in the nearest cache: nothing is fetched ahead. What lies behind may be another
// thread's, from whom fetching would take it.
template <class T>
struct PackedNear {
  const T* p;
  int64_t k;
  PYDIFF_INLINE View<T> operator()(int64_t j, int64_t i, int64_t depth) const {
    const View<T> b = Packed<T>{p, k}(j, i, depth);
    return {b.p, b.ld};
  }
};

template <class T>
void fill_zero(const HeadView<T>& x) {
  for (int64_t i = 0; i < x.t; ++i)
    for_lanes<T>(x.d, [&](int64_t k, auto at) { store(x.row(i) + k, zero<T>(), at); });
}

// ---- forward

// A running softmax over the keys seen so far, one entry per query: exponentials are taken about
// -shift / log2(e), which follows the maximum only when that has risen by more than kSlack: sums
// stay far from overflow, and o need not be rescaled for every small rise.
template <class T>
struct Running {
  alignas(64) T top[kQueries], shift[kQueries], sum[kQueries], shrink[kQueries];
};
constexpr int kSlack = 8;

// New maxima of a tile. False where no query's shift moved; else o is to be multiplied by shrink.
template <class T>
bool raise_top(Vec<T> here, bool first, int64_t q, Running<T>& r) {
  const Vec<T> old = load(r.top + q);
  const Mask<T> moved = lt(old + set1<T>(kSlack), here);
  store(r.shrink + q, set1<T>(1));
  if (!first && !any(moved)) return false;
  const Vec<T> top = first ? here : select(moved, here, old);
  const Vec<T> shift = top * set1<T>(-kLog2e<T>);
  const Vec<T> shrink = first ? zero<T>() : exp2_normal(shift - load(r.shift + q));
  store(r.top + q, top);
  store(r.shift + q, shift);
  store(r.shrink + q, shrink);
  store(r.sum + q, first ? zero<T>() : load(r.sum + q) * shrink);
  return !first;
}

// s (keys, queries) -> exp(s - top), the running softmax brought up to date; see raise_top.
template <class T>
PYDIFF_FLATTEN bool stream_softmax(int64_t keys, int64_t queries, bool first, T* s, Running<T>& r) {
  bool moved = false;
  for_groups<T>(queries, [&](int64_t q, auto at) {
    auto here = load(s + q, at);
    for (int64_t j = 1; j < keys; ++j) here = max_or_second(load(s + j * kQueries + q, at), here);
    for (int i = 0; i < vectors_of(here); ++i)
      moved |= raise_top(pick(here, i), first, q + i * Vec<T>::width, r);
    const auto shift = load(r.shift + q, at);
    const auto exponential = [&](int64_t j) {
      T* const row = s + j * kQueries + q;
      const auto e = exp2_normal(fma(load(row, at), set1<T>(kLog2e<T>), shift));
      store(row, e, at);
      return e;
    };
    auto sum = exponential(0);
    for (int64_t j = 1; j < keys; ++j) sum = sum + exponential(j);
    store(r.sum + q, sum + load(r.sum + q, at), at);
  });
  return moved;
}

// The result of one tile of queries, while keys stream by: rows of o, or where those do not end
// with a whole vector its transpose (d, kQueries), which wastes no lanes.
template <class T>
struct Output {
  HeadView<T> o;
  T* transpose;
  bool transposed() const { return o.d % Vec<T>::width != 0; }

  // += p v with p (keys, queries) and the rows of v from `first` on
  void add(int64_t queries, int64_t keys, const T* p, const HeadView<const T>& v,
           int64_t first) const {
    if (transposed())
      multiply<true, T>(o.d, round_up<T>(queries), keys, v.row(first), v.ld,
                        Unpacked<T>{p, kQueries}, transpose, kQueries, first > 0);
    else
      multiply<true, T>(queries, o.d, keys, p, kQueries, Unpacked<T>{v.row(first), v.ld}, o.p, o.ld,
                        first > 0);
  }

  // each query's row times its factor (kQueries,)
  void scale(int64_t queries, const T* factor) const {
    for (int64_t k = 0; transposed() && k < o.d; ++k)
      for_lanes<T>(round_up<T>(queries), [&](int64_t q, auto at) {
        T* const y = transpose + k * kQueries + q;
        store(y, load(y, at) * load(factor + q, at), at);
      });
    for (int64_t q = 0; !transposed() && q < queries; ++q) {
      if (factor[q] == T(1)) continue;
      T* const y = o.row(q);
      for_lanes<T>(
          o.d, [&](int64_t k, auto at) { store(y + k, load(y + k, at) * set1<T>(factor[q]), at); });
    }
  }

  void finish(int64_t queries) const {
    for (int64_t q = 0; transposed() && q < queries; ++q) {
      T* const y = o.row(q);
      for (int64_t k = 0; k < o.d; ++k) y[k] = transpose[k * kQueries + q];
    }
  }
};

template <class T>
int64_t attend_size(int64_t d) {
  return kQueries * kKeys + packed_columns<T>(kQueries, d) + d * kQueries;
}

// One tile of queries against all keys.
template <class T>
void attend(const AttentionArgs<T>& g, int64_t pair, int64_t begin, const HeadView<const T>& k,
            const HeadView<const T>& v, T* work) {
  const HeadView<const T> q = head_view(g.q, pair, g.tq, g.heads, g.d, g.ldq);
  const HeadView<T> o = head_view(g.o, pair, g.tq, g.heads, g.d, g.heads * g.d);
  const int64_t queries = least(kQueries, g.tq - begin), wide = round_up<T>(queries);
  T *const s = work, *const q_columns = s + kQueries * kKeys;
  const Output<T> y{{o.row(begin), queries, g.d, o.ld},
                    q_columns + packed_columns<T>(kQueries, g.d)};
  pack_columns(q, begin, queries, g.scale, q_columns);
  Running<T> r;
  for (int64_t j = 0; j < g.tk; j += kKeys) {
    const int64_t keys = least(kKeys, g.tk - j);
    multiply<false, T>(keys, wide, g.d, k.row(j), k.ld, PackedNear<T>{q_columns, g.d}, s, kQueries,
                       false);
    if (stream_softmax(keys, wide, j == 0, s, r)) y.scale(queries, r.shrink);
    y.add(queries, keys, s, v, j);
  }
  for (int64_t i = 0; i < wide; i += Vec<T>::width) {
    const Vec<T> sum = load(r.sum + i);
    store(r.shrink + i, set1<T>(1) / sum);
    store(r.sum + i, log(sum));
  }
  y.scale(queries, r.shrink);
  y.finish(queries);
  for (int64_t i = 0; g.lse != nullptr && i < queries; ++i)
    g.lse[pair * g.tq + begin + i] =
        static_cast<T>(r.sum[i] - 0.69314718055994530942 * static_cast<double>(r.shift[i]));
}

// q (n, tq, heads d), k, v (n, tk, heads d) -> o (n, tq, heads d), lse (n, heads, tq); tk >= 1
template <class T>
void attention_impl(const AttentionArgs<T>& g) {
  const int64_t pairs = g.n * g.heads, tiles = ceil_div(g.tq, kQueries);
  if (pairs * g.tq == 0 || g.d == 0) return;
  const bool whole = pairs >= kWholeHeads;
  const int64_t k_size = copy_size<T>(g.tk, g.d, g.ldk), v_size = copy_size<T>(g.tk, g.d, g.ldv);
  const int64_t each = k_size + v_size, per_thread = thread_stride<T>(attend_size<T>(g.d));
  const Scratch copies(checked_bytes((whole ? num_threads() : pairs) * each, sizeof(T)));
  const Scratch works(checked_bytes(num_threads() * per_thread, sizeof(T)));
  const auto keys_of = [&](int64_t pair) {
    return head_view(g.k, pair, g.tk, g.heads, g.d, g.ldk);
  };
  const auto values_of = [&](int64_t pair) {
    return head_view(g.v, pair, g.tk, g.heads, g.d, g.ldv);
  };
  const auto copy = [&](int64_t pair, int64_t slot) {
    T* const to = copies.template as<T>() + slot * each;
    fill_copy(keys_of(pair), to);
    fill_copy(values_of(pair), to + k_size);
  };
  const auto attend_tile = [&](int64_t pair, int64_t slot, int64_t tile, int thread) {
    T* const near = copies.template as<T>() + slot * each;
    attend(g, pair, tile * kQueries, rows_near(keys_of(pair), near),
           rows_near(values_of(pair), near + k_size), works.template as<T>() + thread * per_thread);
  };
  if (whole) {
    parallel_for(pairs, [&](int64_t pair, int thread) {
      copy(pair, thread);
      for (int64_t tile = 0; tile < tiles; ++tile) attend_tile(pair, thread, tile, thread);
    });
    return;
  }
  if (each > 0) parallel_for(pairs, [&](int64_t pair, int) { copy(pair, pair); });
  parallel_for(pairs * tiles, [&](int64_t task, int thread) {
    attend_tile(task / tiles, task / tiles, task % tiles, thread);
  });
}

// ---- backward: p = exp(s - lse), ds = p (dy v^T - dot) scale with dot = sum(dy o),
// dq = ds k, dk = ds^T q, dv = p^T dy. Tiles as above: p, ds (keys, queries).

// What the products of one head read.
template <class T>
struct Operands {
  T *q_columns, *dy_columns, *q_rows, *dy_rows, *k_rows, *k_copy, *v_copy, *dot, *shift;

  static int64_t size(const AttentionBackwardArgs<T>& g) {
    return 2 * packed_columns<T>(g.tq, g.d) + 2 * packed_rows<T>(g.tq, g.d) +
           packed_rows<T>(g.tk, g.d) + 2 * copy_size<T>(g.tk, g.d, g.heads * g.d) +
           2 * round_up<T>(g.tq);
  }
  Operands(const AttentionBackwardArgs<T>& g, T* p)
      : q_columns(p),
        dy_columns(q_columns + packed_columns<T>(g.tq, g.d)),
        q_rows(dy_columns + packed_columns<T>(g.tq, g.d)),
        dy_rows(q_rows + packed_rows<T>(g.tq, g.d)),
        k_rows(dy_rows + packed_rows<T>(g.tq, g.d)),
        k_copy(k_rows + packed_rows<T>(g.tk, g.d)),
        v_copy(k_copy + copy_size<T>(g.tk, g.d, g.heads * g.d)),
        dot(v_copy + copy_size<T>(g.tk, g.d, g.heads * g.d)),
        shift(dot + round_up<T>(g.tq)) {}

  void fill(const AttentionBackwardArgs<T>& g, int64_t pair) const {
    const auto view = [&](const T* p, int64_t t) {
      return head_view(p, pair, t, g.heads, g.d, g.heads * g.d);
    };
    const HeadView<const T> q = view(g.q, g.tq), dy = view(g.dy, g.tq), o = view(g.o, g.tq);
    pack_columns(q, 0, g.tq, g.scale, q_columns);
    pack_columns(dy, 0, g.tq, T(1), dy_columns);
    pack_rows(q, q_rows);
    pack_rows(dy, dy_rows);
    pack_rows(view(g.k, g.tk), k_rows);
    fill_copy(view(g.k, g.tk), k_copy);
    fill_copy(view(g.v, g.tk), v_copy);
    for (int64_t i = 0; i < round_up<T>(g.tq); ++i) {
      const bool real = i < g.tq;
      shift[i] = real ? g.lse[pair * g.tq + i] * -kLog2e<T> : T(0);
      dot[i] = !real ? T(0) : sum_terms<T>(g.d, [&](int64_t j, auto at) {
        return load(dy.row(i) + j, at) * load(o.row(i) + j, at);
      });
    }
  }
};

// Gradients of one head grow here, in rows of whole vectors: q's for all queries of the task, k's
// and v's for at most kNearKeys, which the second-level cache holds.
constexpr int64_t kNearKeys = 512;
template <class T>
struct BackwardWork {
  T *p, *ds, *dq, *dk, *dv;
  static int64_t size(int64_t d, int64_t queries, int64_t keys) {
    return 2 * kQueries * kKeys + (queries + 2 * keys) * copy_stride<T>(d);
  }
  BackwardWork(T* at, int64_t d, int64_t queries, int64_t keys)
      : p(at),
        ds(p + kQueries * kKeys),
        dq(ds + kQueries * kKeys),
        dk(dq + queries * copy_stride<T>(d)),
        dv(dk + keys * copy_stride<T>(d)) {}
};

// p (keys, queries) = scores, ds = dy v^T -> p, ds
template <class T>
PYDIFF_FLATTEN void score_gradient(int64_t keys, int64_t queries, const T* shift, const T* dot,
                                   T scale, T* p, T* ds) {
  for (int64_t j = 0; j < keys; ++j)
    for_groups<T>(queries, [&](int64_t q, auto at) {
      const int64_t i = j * kQueries + q;
      const auto e = exp2_normal(fma(load(p + i, at), set1<T>(kLog2e<T>), load(shift + q, at)));
      store(p + i, e, at);
      store(ds + i, e * (load(ds + i, at) - load(dot + q, at)) * set1<T>(scale), at);
    });
}

template <class T>
void write_rows(const T* from, const HeadView<T>& to, int64_t first, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    for_lanes<T>(to.d, [&](int64_t k, auto at) {
      store(to.row(first + i) + k, load(from + i * copy_stride<T>(to.d) + k, at), at);
    });
}

// Part of one head: queries [q0, q1) against keys [k0, k1), for dq, or for dk and dv, or for all.
// dq goes on from what earlier keys left in w.
template <class T>
void backward_part(const AttentionBackwardArgs<T>& g, int64_t pair, int64_t q0, int64_t q1,
                   int64_t k0, int64_t k1, bool for_q, bool for_kv, const Operands<T>& b,
                   const BackwardWork<T>& w) {
  constexpr int cols = Tile<T>::cols;
  const int64_t ld = g.heads * g.d, copied = copy_stride<T>(g.d), wide_d = round_up<T>(g.d);
  const auto view = [&](auto* p, int64_t t) { return head_view(p, pair, t, g.heads, g.d, ld); };
  const HeadView<const T> k = rows_near(view(g.k, g.tk), b.k_copy);
  const HeadView<const T> v = rows_near(view(g.v, g.tk), b.v_copy);
  for (int64_t i = q0; i < q1; i += kQueries) {
    const int64_t queries = least(kQueries, q1 - i), wide = round_up<T>(queries);
    for (int64_t j = k0; j < k1; j += kKeys) {
      const int64_t keys = least(kKeys, k1 - j);
      multiply<false, T>(keys, wide, g.d, k.row(j), k.ld, Packed<T>{b.q_columns + i * g.d, g.d},
                         w.p, kQueries, false);
      multiply<false, T>(keys, wide, g.d, v.row(j), v.ld, Packed<T>{b.dy_columns + i * g.d, g.d},
                         w.ds, kQueries, false);
      score_gradient(keys, wide, b.shift + i, b.dot + i, g.scale, w.p, w.ds);
      if (for_q)
        multiply<true, T>(queries, wide_d, keys, w.ds, kQueries,
                          Packed<T>{b.k_rows + j * cols, g.tk}, w.dq + (i - q0) * copied, copied,
                          j > 0);
      if (for_kv) {
        multiply<false, T>(keys, wide_d, queries, w.ds, kQueries,
                           Packed<T>{b.q_rows + i * cols, g.tq}, w.dk + (j - k0) * copied, copied,
                           i > 0);
        multiply<false, T>(keys, wide_d, queries, w.p, kQueries,
                           Packed<T>{b.dy_rows + i * cols, g.tq}, w.dv + (j - k0) * copied, copied,
                           i > 0);
      }
    }
    if (for_q && k1 == g.tk) write_rows(w.dq + (i - q0) * copied, view(g.dq, g.tq), i, queries);
  }
  if (!for_kv) return;
  write_rows(w.dk, view(g.dk, g.tk), k0, k1 - k0);
  write_rows(w.dv, view(g.dv, g.tk), k0, k1 - k0);
}

// dq (n, tq, heads d), dk, dv (n, tk, heads d). Heads that fill the threads: one task each, five
// products. Else tasks by queries for dq and by keys for dk and dv, which recompute the scores:
// seven products. The sums run in the same order either way, so the choice may look at the threads.
template <class T>
void attention_backward_impl(const AttentionBackwardArgs<T>& g) {
  const int64_t pairs = g.n * g.heads, ld = g.heads * g.d;
  if (pairs == 0 || g.d == 0) return;
  if (g.tq == 0) {
    for (int64_t pair = 0; pair < pairs; ++pair) {
      fill_zero(head_view(g.dk, pair, g.tk, g.heads, g.d, ld));
      fill_zero(head_view(g.dv, pair, g.tk, g.heads, g.d, ld));
    }
    return;
  }
  const int64_t threads = num_threads(), turns = ceil_div(pairs, threads);
  const bool whole = 5 * turns * threads <= 7 * pairs;
  const int64_t queries = whole ? g.tq : kQueries, keys = whole ? least(g.tk, kNearKeys) : kKeys;
  const int64_t each = thread_stride<T>(Operands<T>::size(g));
  const int64_t per_thread = thread_stride<T>(BackwardWork<T>::size(g.d, queries, keys));
  const Scratch operands(checked_bytes((whole ? threads : pairs) * each, sizeof(T)));
  const Scratch works(checked_bytes(threads * per_thread, sizeof(T)));
  const auto operands_at = [&](int64_t i) {
    return Operands<T>(g, operands.template as<T>() + i * each);
  };
  const auto work_of = [&](int thread) {
    return BackwardWork<T>(works.template as<T>() + thread * per_thread, g.d, queries, keys);
  };
  if (whole) {
    parallel_for(pairs, [&](int64_t pair, int thread) {
      const Operands<T> b = operands_at(thread);
      b.fill(g, pair);
      for (int64_t k = 0; k < g.tk; k += kNearKeys)
        backward_part(g, pair, 0, g.tq, k, least(k + kNearKeys, g.tk), true, true, b,
                      work_of(thread));
    });
    return;
  }
  const int64_t q_tasks = ceil_div(g.tq, kQueries), k_tasks = ceil_div(g.tk, kKeys);
  parallel_for(pairs, [&](int64_t pair, int) { operands_at(pair).fill(g, pair); });
  parallel_for(pairs * (q_tasks + k_tasks), [&](int64_t task, int thread) {
    const int64_t pair = task / (q_tasks + k_tasks), part = task % (q_tasks + k_tasks);
    const int64_t q = part * kQueries, k = (part - q_tasks) * kKeys;
    if (part < q_tasks)
      backward_part(g, pair, q, least(q + kQueries, g.tq), 0, g.tk, true, false, operands_at(pair),
                    work_of(thread));
    else
      backward_part(g, pair, 0, g.tq, k, least(k + kKeys, g.tk), false, true, operands_at(pair),
                    work_of(thread));
  });
}

}  // namespace

void attention(const AttentionArgs<float>& args) { attention_impl(args); }
void attention(const AttentionArgs<double>& args) { attention_impl(args); }
void attention_backward(const AttentionBackwardArgs<float>& args) { attention_backward_impl(args); }
void attention_backward(const AttentionBackwardArgs<double>& args) {
  attention_backward_impl(args);
}

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
