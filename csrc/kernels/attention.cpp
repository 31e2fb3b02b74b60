// Multi-head attention with a streaming softmax (Milakov & Gimelshein 2018, arXiv 1805.02867; Dao
// et al. 2022, arXiv 2205.14135): scores exist only as tiles of 64 queries x 128 keys.
//
// Tiles are cut by constants, queries of one tile are independent, and sums over keys or queries
// run in order: bits depend neither on threads nor on the instruction set. Floor: 4 tq tk d flops
// forward, 10 backward (two of them recompute the scores), per head.
#include "core/args.h"
#include "kernels/gemm.h"
#include "simd/math.h"
#include "simd/reduce.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kQueries = 64, kKeys = 128;
constexpr int64_t kWholeHeads = 8;  // from so many heads on, each is one task, packed in its cache

// (t, d) of one image and head inside (n, t, heads * d)
template <class T>
struct HeadView {
  T* p;
  int64_t t, d, ld;
  T* row(int64_t i) const { return p + i * ld; }
};

template <class T>
HeadView<T> head_view(T* p, int64_t pair, int64_t t, int64_t heads, int64_t d) {
  return {p + pair / heads * t * heads * d + pair % heads * d, t, d, heads * d};
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
void pack(const HeadView<const T>& x, bool transposed, T* to) {
  constexpr int cols = Tile<T>::cols;
  const int64_t n = transposed ? x.t : x.d, k = transposed ? x.d : x.t;
  for (int64_t j = 0; j < n; j += cols)
    pack_panel(k, least(cols, n - j), x.p + j * (transposed ? x.ld : 1), x.ld, transposed,
               to + j * k);
}

// rows [first, first + count) of x times scale, a cache line further apart than they are wide:
// strides of 2^n would meet in a few sets of the cache.
template <class T>
PYDIFF_INLINE int64_t copy_stride(int64_t d) {
  return (d / kLanes<T> + 2) * kLanes<T>;
}
template <class T>
void copy_rows(const HeadView<const T>& x, int64_t first, int64_t count, T scale, T* to) {
  for (int64_t i = 0; i < count; ++i)
    for_lanes<T>(x.d, [&](int64_t k, auto at) {
      store(to + i * copy_stride<T>(x.d) + k, load(x.row(first + i) + k, at) * set1<T>(scale), at);
    });
}

// c (m, n) = [c +] a (m, k) b, a stored as rows, or as columns for the transpose
template <bool kColumns, class T>
void multiply(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const Packed<T>& b, T* c,
              int64_t ldc, bool add) {
  product<T, kColumns>(
      m, n, k, [&](int64_t i, int64_t) -> View<T> { return {a + i * (kColumns ? lda : 1), lda}; },
      b, c, ldc, add, nullptr);
}

template <class T>
void fill_zero(const HeadView<T>& x) {
  for (int64_t i = 0; i < x.t; ++i)
    for_lanes<T>(x.d, [&](int64_t k, auto at) { store(x.row(i) + k, zero<T>(), at); });
}

template <class T>
T scalar_exp(T x) {
  T y[Vec<T>::width];
  store(y, exp(set1<T>(x)));
  return y[0];
}
template <class T>
T scalar_log(T x) {
  T y[Vec<T>::width];
  store(y, log(set1<T>(x)));
  return y[0];
}

// ---- forward

// A running softmax over the keys seen so far, one entry per query.
template <class T>
struct Running {
  T top[kQueries], sum[kQueries];
};

// s (queries, keys) -> exp(s - top), with top and sum brought up to date; o is scaled to the new
// top.
template <class T>
void stream_softmax(int64_t queries, int64_t keys, bool first, T* s, Running<T>& r,
                    const HeadView<T>& o, int64_t o_row) {
  for (int64_t i = 0; i < queries; ++i) {
    T* const row = s + i * kKeys;
    const T here = max_terms<T>(keys, [&](int64_t j, auto at) { return load(row + j, at); });
    const T top = first || here > r.top[i] || here != here ? here : r.top[i];
    const T sum = sum_terms<T>(keys, [&](int64_t j, auto at) {
      const Vec<T> e = exp(load(row + j, at) - set1<T>(top));
      store(row + j, e, at);
      return e;
    });
    if (first) {
      r.sum[i] = sum;
    } else {
      const T shrink = scalar_exp(r.top[i] - top);
      r.sum[i] = r.sum[i] * shrink + sum;
      T* const y = o.row(o_row + i);
      if (shrink != T(1))
        for_lanes<T>(
            o.d, [&](int64_t k, auto at) { store(y + k, load(y + k, at) * set1<T>(shrink), at); });
    }
    r.top[i] = top;
  }
}

// One tile of queries against all keys.
template <class T>
void attend(const AttentionArgs<T>& g, int64_t pair, int64_t begin, const T* keys_packed,
            const T* values_packed, T* work) {
  constexpr int cols = Tile<T>::cols;
  const HeadView<const T> q = head_view(g.q, pair, g.tq, g.heads, g.d);
  const HeadView<T> o = head_view(g.o, pair, g.tq, g.heads, g.d);
  const int64_t queries = least(kQueries, g.tq - begin);
  T* const s = work;
  T* const rows = work + kQueries * kKeys;
  copy_rows(q, begin, queries, g.scale, rows);
  Running<T> r;
  for (int64_t j = 0; j < g.tk; j += kKeys) {
    const int64_t keys = least(kKeys, g.tk - j);
    multiply<false, T>(queries, keys, g.d, rows, copy_stride<T>(g.d),
                       Packed<T>{keys_packed + j * g.d, g.d}, s, kKeys, false);
    stream_softmax(queries, keys, j == 0, s, r, o, begin);
    multiply<false, T>(queries, g.d, keys, s, kKeys, Packed<T>{values_packed + j * cols, g.tk},
                       o.row(begin), o.ld, j > 0);
  }
  for (int64_t i = 0; i < queries; ++i) {
    T* const y = o.row(begin + i);
    const Vec<T> scale = set1<T>(T(1) / r.sum[i]);
    for_lanes<T>(g.d, [&](int64_t k, auto at) { store(y + k, load(y + k, at) * scale, at); });
    g.lse[pair * g.tq + begin + i] = r.top[i] + scalar_log(r.sum[i]);
  }
}

// q, o (n, tq, heads d), k, v (n, tk, heads d), lse (n, heads, tq); tk >= 1
template <class T>
void attention_impl(const AttentionArgs<T>& g) {
  const int64_t pairs = g.n * g.heads, tiles = ceil_div(g.tq, kQueries);
  if (pairs * g.tq == 0 || g.d == 0) return;
  const int64_t k_size = packed_columns<T>(g.tk, g.d), v_size = packed_rows<T>(g.tk, g.d);
  const int64_t each = k_size + v_size, per_thread = kQueries * (kKeys + copy_stride<T>(g.d));
  const bool whole = pairs >= kWholeHeads;
  const Scratch operands(checked_bytes((whole ? num_threads() : pairs) * each, sizeof(T)));
  const Scratch works(checked_bytes(num_threads() * per_thread, sizeof(T)));
  const auto packed_at = [&](int64_t i) { return operands.template as<T>() + i * each; };
  const auto work_of = [&](int thread) { return works.template as<T>() + thread * per_thread; };
  const auto keys_of = [&](int64_t pair) { return head_view(g.k, pair, g.tk, g.heads, g.d); };
  const auto values_of = [&](int64_t pair) { return head_view(g.v, pair, g.tk, g.heads, g.d); };
  if (whole) {
    parallel_for(pairs, [&](int64_t pair, int thread) {
      T* const keys = packed_at(thread);
      pack(keys_of(pair), true, keys);
      pack(values_of(pair), false, keys + k_size);
      for (int64_t tile = 0; tile < tiles; ++tile)
        attend(g, pair, tile * kQueries, keys, keys + k_size, work_of(thread));
    });
    return;
  }
  parallel_for(2 * pairs, [&](int64_t task, int) {
    const int64_t pair = task / 2;
    if (task % 2 == 0)
      pack(keys_of(pair), true, packed_at(pair));
    else
      pack(values_of(pair), false, packed_at(pair) + k_size);
  });
  parallel_for(pairs * tiles, [&](int64_t task, int thread) {
    const T* const keys = packed_at(task / tiles);
    attend(g, task / tiles, task % tiles * kQueries, keys, keys + k_size, work_of(thread));
  });
}

// ---- backward: p = exp(s - lse), ds = p (dy v^T - dot) scale with dot = sum(dy o),
// dq = ds k, dk = ds^T q, dv = p^T dy

// The operands of one head, packed for the five products.
template <class T>
struct Operands {
  T *k_columns, *v_columns, *k_rows, *q_rows, *dy_rows, *dot;

  static int64_t size(const AttentionBackwardArgs<T>& g) {
    return 2 * packed_columns<T>(g.tk, g.d) + packed_rows<T>(g.tk, g.d) +
           2 * packed_rows<T>(g.tq, g.d) + g.tq;
  }
  Operands(const AttentionBackwardArgs<T>& g, T* p)
      : k_columns(p),
        v_columns(k_columns + packed_columns<T>(g.tk, g.d)),
        k_rows(v_columns + packed_columns<T>(g.tk, g.d)),
        q_rows(k_rows + packed_rows<T>(g.tk, g.d)),
        dy_rows(q_rows + packed_rows<T>(g.tq, g.d)),
        dot(dy_rows + packed_rows<T>(g.tq, g.d)) {}

  void fill(const AttentionBackwardArgs<T>& g, int64_t pair) const {
    const HeadView<const T> k = head_view(g.k, pair, g.tk, g.heads, g.d);
    const HeadView<const T> dy = head_view(g.dy, pair, g.tq, g.heads, g.d);
    const HeadView<const T> o = head_view(g.o, pair, g.tq, g.heads, g.d);
    pack(k, true, k_columns);
    pack(head_view(g.v, pair, g.tk, g.heads, g.d), true, v_columns);
    pack(k, false, k_rows);
    pack(head_view(g.q, pair, g.tq, g.heads, g.d), false, q_rows);
    pack(dy, false, dy_rows);
    for (int64_t i = 0; i < g.tq; ++i)
      dot[i] = sum_terms<T>(g.d, [&](int64_t j, auto at) {
        return load(dy.row(i) + j, at) * load(o.row(i) + j, at);
      });
  }
};

template <class T>
struct BackwardWork {
  T *p, *ds, *q, *dy;
  static int64_t size(int64_t d) { return 2 * kQueries * (kKeys + copy_stride<T>(d)); }
  BackwardWork(T* at, int64_t d)
      : p(at),
        ds(p + kQueries * kKeys),
        q(ds + kQueries * kKeys),
        dy(q + kQueries * copy_stride<T>(d)) {}
};

// p and ds of one tile
template <class T>
void score_tile(const AttentionBackwardArgs<T>& g, int64_t pair, int64_t i, int64_t queries,
                int64_t j, int64_t keys, const Operands<T>& b, const BackwardWork<T>& w) {
  const int64_t ld = copy_stride<T>(g.d);
  multiply<false, T>(queries, keys, g.d, w.q, ld, Packed<T>{b.k_columns + j * g.d, g.d}, w.p, kKeys,
                     false);
  multiply<false, T>(queries, keys, g.d, w.dy, ld, Packed<T>{b.v_columns + j * g.d, g.d}, w.ds,
                     kKeys, false);
  for (int64_t r = 0; r < queries; ++r) {
    T *const p = w.p + r * kKeys, *const ds = w.ds + r * kKeys;
    const Vec<T> lse = set1<T>(g.lse[pair * g.tq + i + r]), dot = set1<T>(b.dot[i + r]);
    for_lanes<T>(keys, [&](int64_t c, auto at) {
      const Vec<T> e = exp(load(p + c, at) - lse);
      store(p + c, e, at);
      store(ds + c, e * (load(ds + c, at) - dot) * set1<T>(g.scale), at);
    });
  }
}

// Part of one head: queries [q0, q1) against keys [k0, k1), for dq, or for dk and dv, or for all.
template <class T>
void backward_part(const AttentionBackwardArgs<T>& g, int64_t pair, int64_t q0, int64_t q1,
                   int64_t k0, int64_t k1, bool for_q, bool for_kv, const Operands<T>& b,
                   const BackwardWork<T>& w) {
  constexpr int cols = Tile<T>::cols;
  const HeadView<const T> q = head_view(g.q, pair, g.tq, g.heads, g.d);
  const HeadView<const T> dy = head_view(g.dy, pair, g.tq, g.heads, g.d);
  const HeadView<T> dq = head_view(g.dq, pair, g.tq, g.heads, g.d);
  const HeadView<T> dk = head_view(g.dk, pair, g.tk, g.heads, g.d);
  const HeadView<T> dv = head_view(g.dv, pair, g.tk, g.heads, g.d);
  for (int64_t i = q0; i < q1; i += kQueries) {
    const int64_t queries = least(kQueries, q1 - i);
    copy_rows(q, i, queries, g.scale, w.q);
    copy_rows(dy, i, queries, T(1), w.dy);
    for (int64_t j = k0; j < k1; j += kKeys) {
      const int64_t keys = least(kKeys, k1 - j);
      score_tile(g, pair, i, queries, j, keys, b, w);
      if (for_q)
        multiply<false, T>(queries, g.d, keys, w.ds, kKeys, Packed<T>{b.k_rows + j * cols, g.tk},
                           dq.row(i), dq.ld, j > 0);
      if (for_kv) {
        multiply<true, T>(keys, g.d, queries, w.ds, kKeys, Packed<T>{b.q_rows + i * cols, g.tq},
                          dk.row(j), dk.ld, i > 0);
        multiply<true, T>(keys, g.d, queries, w.p, kKeys, Packed<T>{b.dy_rows + i * cols, g.tq},
                          dv.row(j), dv.ld, i > 0);
      }
    }
  }
}

// dq (n, tq, heads d), dk, dv (n, tk, heads d). Enough heads: one task each, five products. Few
// heads: tasks by queries for dq and by keys for dk and dv, which recompute the scores: seven
// products. The sums run in the same order either way.
template <class T>
void attention_backward_impl(const AttentionBackwardArgs<T>& g) {
  const int64_t pairs = g.n * g.heads;
  if (pairs == 0 || g.d == 0) return;
  if (g.tq == 0) {
    for (int64_t pair = 0; pair < pairs; ++pair) {
      fill_zero(head_view(g.dk, pair, g.tk, g.heads, g.d));
      fill_zero(head_view(g.dv, pair, g.tk, g.heads, g.d));
    }
    return;
  }
  const bool whole = pairs >= kWholeHeads;
  const int64_t each = Operands<T>::size(g), per_thread = BackwardWork<T>::size(g.d);
  const Scratch operands(checked_bytes((whole ? num_threads() : pairs) * each, sizeof(T)));
  const Scratch works(checked_bytes(num_threads() * per_thread, sizeof(T)));
  const auto operands_at = [&](int64_t i) {
    return Operands<T>(g, operands.template as<T>() + i * each);
  };
  const auto work_of = [&](int thread) {
    return BackwardWork<T>(works.template as<T>() + thread * per_thread, g.d);
  };
  if (whole) {
    parallel_for(pairs, [&](int64_t pair, int thread) {
      const Operands<T> b = operands_at(thread);
      b.fill(g, pair);
      backward_part(g, pair, 0, g.tq, 0, g.tk, true, true, b, work_of(thread));
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
