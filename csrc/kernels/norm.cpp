// Group norm (with SiLU) and layer norm, forward and backward.
//
// Statistics in blocks of 64 rows: sums about the block's own mean, so that a mean far above the
// deviation costs no digits; blocks are combined in double, in order (Chan, Golub, LeVeque 1983).
// Blocks are cut by shape, each channel is one chain over its rows: bits depend on nothing else.
// Floor: x twice through memory (statistics, result) and y once; a block's second look is a cache
// hit.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/math.h"
#include "simd/reduce.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kBlockRows = 64;

constexpr int64_t kGrain = 32768;  // elements per task: some microseconds

PYDIFF_INLINE int64_t blocks_of(int64_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }

// body(i) for i < count, each of some `elements`, in tasks of at least kGrain elements
template <class F>
void for_each(int64_t count, int64_t elements, const F& body) {
  const int64_t per_task = elements < kGrain ? kGrain / (elements + 1) : 1;
  parallel_for((count + per_task - 1) / per_task, [&](int64_t task, int) {
    for (int64_t i = task * per_task; i < least((task + 1) * per_task, count); ++i) body(i);
  });
}

// before(image, block) for all blocks of an image, then middle(image), then after(image, block).
// Many images: each goes through all three while the cache holds it. Few: all blocks at once.
template <class Before, class Middle, class After>
void in_phases(int64_t images, int64_t blocks, int64_t elements, const Before& before,
               const Middle& middle, const After& after) {
  if (images >= 8) {
    for_each(images, blocks * elements, [&](int64_t image) {
      for (int64_t b = 0; b < blocks; ++b) before(image, b);
      middle(image);
      for (int64_t b = 0; b < blocks; ++b) after(image, b);
    });
    return;
  }
  const auto each_block = [&](const auto& body) {
    for_each(images * blocks, elements, [&](int64_t i) { body(i / blocks, i % blocks); });
  };
  each_block(before);
  for_each(images, blocks * elements / kBlockRows, middle);
  each_block(after);
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

// Sums of one block of x (rows, c) about the means of its columns.
template <class T>
struct BlockSums {
  T* mean;    // (c,)
  T* sum;     // (c,) of x - mean: what rounding left of it
  T* square;  // (c,) of (x - mean)^2
};

template <class T>
void block_sums(int64_t rows, int64_t c, const T* x, const BlockSums<T>& s) {
  column_sums<T>(rows, c, {s.mean}, [&](int64_t r, int64_t k, auto at, Vec<T>(&acc)[1]) {
    acc[0] = acc[0] + load(x + r * c + k, at);
  });
  const Vec<T> scale = set1<T>(T(1) / T(rows));
  for_lanes<T>(c, [&](int64_t k, auto at) { store(s.mean + k, load(s.mean + k, at) * scale, at); });
  column_sums<T>(rows, c, {s.sum, s.square}, [&](int64_t r, int64_t k, auto at, Vec<T>(&acc)[2]) {
    const Vec<T> d = load(x + r * c + k, at) - load(s.mean + k, at);
    acc[0] = acc[0] + d;
    acc[1] = fma(d, d, acc[1]);
  });
}

struct Moments {
  double mean, rstd;
};

// The moments of channels [first, last) over all blocks of one image.
template <class T>
Moments combine(const GroupNormArgs<T>& g, const T* partial, int64_t first, int64_t last) {
  const int64_t blocks = blocks_of(g.s);
  const double count = g.s > 0 ? static_cast<double>(g.s * (last - first)) : 1;
  double total = 0, squares = 0;
  const auto each = [&](const auto& body) {
    for (int64_t b = 0; b < blocks; ++b) {
      const double rows = static_cast<double>(least(kBlockRows, g.s - b * kBlockRows));
      const T* p = partial + b * 3 * g.c;
      for (int64_t k = first; k < last; ++k) body(rows, p[k], p[g.c + k], p[2 * g.c + k]);
    }
  };
  each([&](double rows, double mean, double sum, double) { total += mean * rows + sum; });
  const double mean = total / count;
  each([&](double rows, double block_mean, double sum, double square) {
    const double d = block_mean - mean;
    squares += square + d * (2 * sum + rows * d);
  });
  return {mean, 1 / __builtin_sqrt(squares / count + g.eps)};
}

// What one image's channels are normalised with, each (c,).
template <class T>
struct Affine {
  T *mean, *scale, *shift;  // y = (x - mean) scale + shift
};

template <class T>
void apply(const GroupNormArgs<T>& g, int64_t image, int64_t block, const Affine<T>& a) {
  const int64_t first = image * g.s + block * kBlockRows;
  const int64_t last = least(first + kBlockRows, (image + 1) * g.s);
  for (int64_t row = first; row < last; ++row) {
    const T* x = g.x + row * g.c;
    T* y = g.y + row * g.c;
    for_lanes<T>(g.c, [&](int64_t k, auto at) {
      const Vec<T> z =
          fma(load(x + k, at) - load(a.mean + k, at), load(a.scale + k, at), load(a.shift + k, at));
      store(y + k, g.act == kSilu ? z * sigmoid(z) : z, at);
    });
  }
}

// x (n, s, c) -> y (n, s, c), mean (n, groups), rstd (n, groups)
template <class T>
void group_norm_impl(const GroupNormArgs<T>& g) {
  if (g.n == 0 || g.c == 0) return;
  const int64_t blocks = blocks_of(g.s), per_group = g.c / g.groups;
  const Scratch partials(checked_bytes(g.n * blocks * 3 * g.c, sizeof(T)));
  const Scratch affines(checked_bytes(g.n * 3 * g.c, sizeof(T)));
  T* const partial = partials.template as<T>();
  const auto affine = [&](int64_t image) -> Affine<T> {
    T* const at = affines.template as<T>() + image * 3 * g.c;
    return {at, at + g.c, at + 2 * g.c};
  };
  const auto statistics = [&](int64_t image, int64_t block) {
    const int64_t row = block * kBlockRows;
    T* const p = partial + (image * blocks + block) * 3 * g.c;
    block_sums(least(kBlockRows, g.s - row), g.c, g.x + (image * g.s + row) * g.c,
               BlockSums<T>{p, p + g.c, p + 2 * g.c});
  };
  const auto moments = [&](int64_t image) {
    const Affine<T> a = affine(image);
    for (int64_t group = 0; group < g.groups; ++group) {
      const int64_t first = group * per_group, last = first + per_group;
      const Moments m = combine(g, partial + image * blocks * 3 * g.c, first, last);
      g.mean[image * g.groups + group] = static_cast<T>(m.mean);
      g.rstd[image * g.groups + group] = static_cast<T>(m.rstd);
      for (int64_t k = first; k < last; ++k) {
        a.mean[k] = static_cast<T>(m.mean);
        a.scale[k] = static_cast<T>(m.rstd) * (g.weight != nullptr ? g.weight[k] : T(1));
        const T bias = g.bias != nullptr ? g.bias[k] : T(0);
        const double rounded_off = m.mean - static_cast<double>(a.mean[k]);
        a.shift[k] = static_cast<T>(bias - rounded_off * static_cast<double>(a.scale[k]));
      }
    }
  };
  in_phases(g.n, blocks, least(g.s, kBlockRows) * g.c, statistics, moments,
            [&](int64_t image, int64_t block) { apply(g, image, block, affine(image)); });
}

// d act(z) / dz times dy
template <class T>
PYDIFF_INLINE Vec<T> through_activation(Activation act, Vec<T> dy, Vec<T> z) {
  if (act == kNone) return dy;
  Vec<T> rest;
  const Vec<T> s = sigmoid(z, &rest);
  return dy * (s * fma(z, rest, set1<T>(1)));
}

// One image's channels in the backward pass, each (c,): xhat = (x - mean) rstd,
// z = xhat weight + bias, dx = rstd (dz weight - dz_mean - xhat dz_xhat_mean).
template <class T>
struct Channels {
  T *mean, *rstd, *weight, *bias, *dz_mean, *dz_xhat_mean;
  Channels(T* p, int64_t c)
      : mean(p),
        rstd(p + c),
        weight(p + 2 * c),
        bias(p + 3 * c),
        dz_mean(p + 4 * c),
        dz_xhat_mean(p + 5 * c) {}
};

template <class T>
struct Gradient {
  Vec<T> xhat, dz;
};

template <class T, class At>
PYDIFF_INLINE Gradient<T> gradient_at(const GroupNormBackwardArgs<T>& g, const Channels<T>& ch,
                                      int64_t row, int64_t k, At at) {
  const Vec<T> x = load(g.x + row * g.c + k, at), dy = load(g.dy + row * g.c + k, at);
  const Vec<T> xhat = (x - load(ch.mean + k, at)) * load(ch.rstd + k, at);
  const Vec<T> z = fma(xhat, load(ch.weight + k, at), load(ch.bias + k, at));
  return {xhat, through_activation(g.act, dy, z)};
}

// The group means of dz weight and dz weight xhat from the sums per channel, in double.
template <class T>
void group_means(const GroupNormBackwardArgs<T>& g, const double* sums, const Channels<T>& ch) {
  const int64_t per_group = g.c / g.groups;
  const double count = static_cast<double>(g.s) * static_cast<double>(per_group);
  for (int64_t first = 0; first < g.c; first += per_group) {
    double dz = 0, dz_xhat = 0;
    for (int64_t k = first; k < first + per_group; ++k) {
      dz += sums[k] * static_cast<double>(ch.weight[k]);
      dz_xhat += sums[g.c + k] * static_cast<double>(ch.weight[k]);
    }
    for (int64_t k = first; k < first + per_group; ++k) {
      ch.dz_mean[k] = static_cast<T>(dz / count);
      ch.dz_xhat_mean[k] = static_cast<T>(dz_xhat / count);
    }
  }
}

// dx (n, s, c), dweight and dbias (c,) from dy, x and the saved statistics
template <class T>
void group_norm_backward_impl(const GroupNormBackwardArgs<T>& g) {
  const int64_t blocks = blocks_of(g.s), per_group = g.c / g.groups;
  const Scratch partials(checked_bytes(g.n * blocks * 2 * g.c, sizeof(T)));
  const Scratch channels(checked_bytes(g.n * 6 * g.c, sizeof(T)));
  const Scratch image_sums(checked_bytes(g.n * 2 * g.c, sizeof(double)));
  T* const partial = partials.template as<T>();
  double* const sums = image_sums.template as<double>();
  const auto channels_of = [&](int64_t image) {
    return Channels<T>(channels.template as<T>() + image * 6 * g.c, g.c);
  };
  for (int64_t i = 0; i < g.n * g.c; ++i) {
    const int64_t image = i / g.c, k = i % g.c, group = image * g.groups + k / per_group;
    const Channels<T> ch = channels_of(image);
    ch.mean[k] = g.mean[group];
    ch.rstd[k] = g.rstd[group];
    ch.weight[k] = g.weight != nullptr ? g.weight[k] : T(1);
    ch.bias[k] = g.bias != nullptr ? g.bias[k] : T(0);
  }
  const auto slopes = [&](int64_t image, int64_t block) {
    const int64_t row = block * kBlockRows;
    const Channels<T> ch = channels_of(image);
    T* const p = partial + (image * blocks + block) * 2 * g.c;
    column_sums<T>(least(kBlockRows, g.s - row), g.c, {p, p + g.c},
                   [&](int64_t r, int64_t k, auto at, Vec<T>(&acc)[2]) {
                     const auto d = gradient_at(g, ch, image * g.s + row + r, k, at);
                     acc[0] = acc[0] + d.dz;
                     acc[1] = fma(d.dz, d.xhat, acc[1]);
                   });
  };
  const auto means = [&](int64_t image) {
    double* const sum = sums + image * 2 * g.c;
    for (int64_t k = 0; k < 2 * g.c; ++k) {
      sum[k] = 0;
      for (int64_t b = 0; b < blocks; ++b) sum[k] += partial[(image * blocks + b) * 2 * g.c + k];
    }
    group_means(g, sum, channels_of(image));
  };
  const auto gradient = [&](int64_t image, int64_t block) {
    const int64_t first = image * g.s + block * kBlockRows;
    const Channels<T> ch = channels_of(image);
    for (int64_t row = first; row < least(first + kBlockRows, (image + 1) * g.s); ++row)
      for_lanes<T>(g.c, [&](int64_t k, auto at) {
        const auto d = gradient_at(g, ch, row, k, at);
        const Vec<T> centred = fma(d.dz, load(ch.weight + k, at), -load(ch.dz_mean + k, at));
        const Vec<T> dx = fnma(d.xhat, load(ch.dz_xhat_mean + k, at), centred);
        store(g.dx + row * g.c + k, load(ch.rstd + k, at) * dx, at);
      });
  };
  in_phases(g.n, blocks, least(g.s, kBlockRows) * g.c, slopes, means, gradient);
  for (int64_t k = 0; g.dweight != nullptr && k < g.c; ++k) {
    double dbias = 0, dweight = 0;
    for (int64_t image = 0; image < g.n; ++image) {
      dbias += sums[image * 2 * g.c + k];
      dweight += sums[image * 2 * g.c + g.c + k];
    }
    g.dbias[k] = static_cast<T>(dbias);
    g.dweight[k] = static_cast<T>(dweight);
  }
}

template <class T, class At>
PYDIFF_INLINE Vec<T> load_or_one(const T* p, int64_t k, At at) {
  return p != nullptr ? load(p + k, at) : set1<T>(1);
}

// x (rows, c) -> y (rows, c), mean (rows,), rstd (rows,)
template <class T>
void layer_norm_impl(const LayerNormArgs<T>& g) {
  if (g.c == 0) return;
  const double count = static_cast<double>(g.c);
  for_each(blocks_of(g.rows), least(g.rows, kBlockRows) * g.c, [&](int64_t task) {
    const int64_t first = task * kBlockRows;
    for (int64_t row = first; row < least(first + kBlockRows, g.rows); ++row) {
      const T* x = g.x + row * g.c;
      T* y = g.y + row * g.c;
      const auto term = [&](int64_t k, auto at) { return load(x + k, at); };
      const T about = static_cast<T>(sum_terms<T>(g.c, term) / count);
      const Vec<T> centre = set1<T>(about);
      const double rest =
          sum_terms<T>(g.c, [&](int64_t k, auto at) { return load(x + k, at) - centre; });
      const double squares = sum_terms<T>(g.c, [&](int64_t k, auto at) {
        const Vec<T> d = load(x + k, at) - centre;
        return d * d;
      });
      const double variance = (squares - rest * rest / count) / count;
      g.mean[row] = static_cast<T>(about + rest / count);
      g.rstd[row] = static_cast<T>(1 / __builtin_sqrt(variance + g.eps));
      const Vec<T> mean = set1<T>(g.mean[row]), rstd = set1<T>(g.rstd[row]);
      for_lanes<T>(g.c, [&](int64_t k, auto at) {
        const Vec<T> bias = g.bias != nullptr ? load(g.bias + k, at) : zero<T>();
        const Vec<T> xhat = (load(x + k, at) - mean) * rstd;
        store(y + k, fma(xhat, load_or_one(g.weight, k, at), bias), at);
      });
    }
  });
}

// dx of one row: rstd (g - mean(g) - xhat mean(g xhat)) with g = dy weight
template <class T>
void layer_norm_row(const LayerNormBackwardArgs<T>& g, int64_t row) {
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

void group_norm(const GroupNormArgs<float>& args) { group_norm_impl(args); }
void group_norm(const GroupNormArgs<double>& args) { group_norm_impl(args); }
void group_norm_backward(const GroupNormBackwardArgs<float>& args) {
  group_norm_backward_impl(args);
}
void group_norm_backward(const GroupNormBackwardArgs<double>& args) {
  group_norm_backward_impl(args);
}
void layer_norm(const LayerNormArgs<float>& args) { layer_norm_impl(args); }
void layer_norm(const LayerNormArgs<double>& args) { layer_norm_impl(args); }
void layer_norm_backward(const LayerNormBackwardArgs<float>& args) {
  layer_norm_backward_impl(args);
}
void layer_norm_backward(const LayerNormBackwardArgs<double>& args) {
  layer_norm_backward_impl(args);
}

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
