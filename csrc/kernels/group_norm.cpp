// Group norm (Wu & He 2018) with SiLU, forward and backward, channels last.
//
// Statistics in blocks of 128 rows: one pass, about a pilot per channel, the mean of the block's
// first 8 rows. Were those rows far from the others, the block's deviation would be as large: the
// square of (mean - pilot) is at most (128 - 8) / 8 variances, so no more than four bits are lost,
// however far the mean lies above the deviation. Channels are united in groups, and blocks in
// double and in order (Chan, Golub, LeVeque 1983). Blocks are cut by shape, each channel is one
// chain over its rows: bits depend on nothing else.
//
// Floor: x once through memory, once more through the cache where an image fits it, y once.
// Backward: x and dy likewise, dx twice, since it carries dy through the activation's slope to the
// second pass, which is cheaper than to compute the slope again.
//
// Cores without a common cache need 13 ns for a line of it that another core has, and an atomic
// operation waits until all stores before it got theirs. So little is handed over: blocks give
// their groups' sums, not those of channels, and what is written for others is fetched early.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/math.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kBlockRows = 128, kPilotRows = 8;
// Elements of a task: a microsecond, so that who comes late to the work leaves little of it undone.
constexpr int64_t kGrain = 8192;
// Below as many, two threads may take longer than one: 7 or 10 us for 32768, by how far apart the
// host has put the cores, against 8.
constexpr int64_t kSeveral = 65536;

// body(i, thread) for i < count, each of some `elements`. Closures are copied, here and below: one
// that refers to others costs a thread that joins a line of the cache for each, one by one.
template <class F>
void for_each(int64_t count, int64_t elements, const F& body) {
  const int64_t enough = elements < kGrain ? kGrain / (elements + 1) : 1;
  const int64_t per_task = count * elements < kSeveral ? count : enough;
  parallel_for(ceil_div(count, per_task), [=](int64_t task, int thread) {
    const int64_t end = least((task + 1) * per_task, count);
    for (int64_t i = task * per_task; i < end; ++i) body(i, thread);
  });
}

// before(image, first row, rows, thread) for the blocks of an image, then middle(image), then
// after(image, first row, rows, thread) for all rows. Many images: each goes through all three
// while the cache holds it. Few: all blocks at once.
template <class Before, class Middle, class After>
void in_phases(int64_t images, int64_t rows, int64_t channels, const Before& before,
               const Middle& middle, const After& after) {
  if (images >= 8) {
    for_each(images, rows * channels, [=](int64_t image, int thread) {
      for (int64_t r = 0; r < rows; r += kBlockRows)
        before(image, r, least(kBlockRows, rows - r), thread);
      middle(image);
      after(image, 0, rows, thread);
    });
    return;
  }
  const auto in_blocks = [=](int64_t size, const auto& body) {
    const int64_t blocks = ceil_div(rows, size);
    for_each(images * blocks, least(size, rows) * channels, [=](int64_t i, int thread) {
      const int64_t first = i % blocks * size;
      body(i / blocks, first, least(size, rows - first), thread);
    });
  };
  in_blocks(kBlockRows, before);
  for_each(images, rows * channels / kBlockRows, [=](int64_t image, int) { middle(image); });
  in_blocks(kBlockRows / 2, after);
}

// body(first, rows) for 8 rows at a time: they share one load of what belongs to their channels.
// The number is a constant where there are 8, so that loops over it unroll.
template <class F>
PYDIFF_INLINE void for_rows(int64_t rows, const F& body) {
  int64_t r = 0;
  for (; r + kPilotRows <= rows; r += kPilotRows) body(r, kPilotRows);
  if (r < rows) body(r, rows - r);
}

// ---- forward

// Sums of one block of x (rows, c) about the pilots of its channels, each (c,).
template <class T>
struct BlockSums {
  T *pilot, *sum, *square;
  BlockSums(T* p, int64_t c) : pilot(p), sum(p + c), square(p + 2 * c) {}
};

// The channels [k, k + lanes of X) of it: sums stay in registers from the first row to the last.
template <class X, class T, class At>
PYDIFF_INLINE void channel_sums(int64_t rows, int64_t k, const T* x, int64_t ld,
                                const BlockSums<T>& s, At at) {
  const int64_t first = least(rows, kPilotRows);
  X pilot = load(x + k, at);
  for (int64_t r = 1; r < first; ++r) pilot = pilot + load(x + r * ld + k, at);
  pilot = pilot * set1<T>(T(1) / T(first));
  X sum = pilot - pilot, square = sum;
  for (int64_t r = 0; r < rows; ++r) {
    const X d = load(x + r * ld + k, at) - pilot;
    sum = sum + d;
    square = fma(d, d, square);
  }
  store(s.pilot + k, pilot, at);
  store(s.sum + k, sum, at);
  store(s.square + k, square, at);
}

template <class T>
PYDIFF_FLATTEN void block_sums(int64_t rows, int64_t c, const T* x, int64_t ld,
                               const BlockSums<T>& s) {
  constexpr int kSlab = sizeof(Vec<T>) == 64 ? 8 : 4;
  int64_t k = 0;
  for (; k + kSlab * Vec<T>::width <= c; k += kSlab * Vec<T>::width)
    channel_sums<Group<T, kSlab>>(rows, k, x, ld, s, Wide<kSlab>{});
  for_lanes<T>(c - k, [&](int64_t i, auto at) { channel_sums<Vec<T>>(rows, k + i, x, ld, s, at); });
}

// Four neighbouring channels as one of four times the rows, about the pilot of the first, (quads,).
// In this form compilers make shuffles of whole vectors of it.
template <class T>
void unite_four(T rows, int64_t quads, const T* __restrict pilots, const T* __restrict sums,
                const T* __restrict squares, T* __restrict pilot, T* __restrict sum,
                T* __restrict square) {
  for (int64_t q = 0; q < quads; ++q) {
    const T p = pilots[4 * q], s0 = sums[4 * q];
    const T d1 = pilots[4 * q + 1] - p, s1 = sums[4 * q + 1], about1 = s1 + rows * d1;
    const T d2 = pilots[4 * q + 2] - p, s2 = sums[4 * q + 2], about2 = s2 + rows * d2;
    const T d3 = pilots[4 * q + 3] - p, s3 = sums[4 * q + 3], about3 = s3 + rows * d3;
    pilot[q] = p;
    sum[q] = (s0 + about1) + (about2 + about3);
    square[q] =
        (squares[4 * q] + (squares[4 * q + 1] + d1 * (s1 + about1))) +
        ((squares[4 * q + 2] + d2 * (s2 + about2)) + (squares[4 * q + 3] + d3 * (s3 + about3)));
  }
}

// Mean of each group and sum of the squares about it, each (groups,): of a block or of an image.
struct GroupSums {
  double *mean, *square;
  GroupSums(double* p, int64_t groups) : mean(p), square(p + groups) {}
};

// From the sums of its channels, united about the first one's pilot.
template <class T>
void unite_groups(double rows, int64_t groups, int64_t per_group, const BlockSums<T>& s,
                  const GroupSums& to) {
  double* __restrict const sum = to.mean, * __restrict const square = to.square;
  for (int64_t g = 0; g < groups; ++g) {
    sum[g] = s.sum[g * per_group];
    square[g] = s.square[g * per_group];
  }
  for (int64_t j = 1; j < per_group; ++j)
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t k = g * per_group + j;
      const double d = s.pilot[k] - static_cast<double>(s.pilot[k - j]), plain = s.sum[k];
      const double about = plain + rows * d;
      sum[g] += about;
      square[g] += s.square[k] + d * (plain + about);
    }
  const double share = 1 / (rows * static_cast<double>(per_group));
  for (int64_t g = 0; g < groups; ++g) {
    const double mean = sum[g] * share;
    square[g] -= sum[g] * mean;
    sum[g] = s.pilot[g * per_group] + mean;
  }
}

// `channels` has room for the sums of c channels, and of a quarter as many.
template <class T>
void group_sums(int64_t rows, int64_t c, int64_t groups, const T* x, int64_t ld, T* channels,
                const GroupSums& to) {
  const BlockSums<T> each(channels, c), four(channels + 3 * c, c / 4);
  const int64_t per_group = c / groups;
  prefetch_to_write(to.mean, 2 * groups);
  block_sums(rows, c, x, ld, each);
  if (per_group % 4 != 0)
    return unite_groups(static_cast<double>(rows), groups, per_group, each, to);
  unite_four(static_cast<T>(rows), c / 4, each.pilot, each.sum, each.square, four.pilot, four.sum,
             four.square);
  unite_groups(static_cast<double>(4 * rows), groups, per_group / 4, four, to);
}

// From the blocks of an image (blocks, 2, groups) to its groups' means and 1 / deviations.
template <class T>
void group_statistics(const GroupNormArgs<T>& g, double* blocks, double* __restrict mean,
                      double* __restrict rstd) {
  const double per_group = static_cast<double>(g.c / g.groups);
  const auto each = [&](const auto& body) {
    for (int64_t row = 0; row < g.s; row += kBlockRows)
      body(static_cast<double>(least(kBlockRows, g.s - row)) * per_group,
           GroupSums(blocks + row / kBlockRows * 2 * g.groups, g.groups));
  };
  const double count = static_cast<double>(g.s) * per_group;
  for (int64_t k = 0; k < g.groups; ++k) mean[k] = rstd[k] = 0;
  each([&](double n, const GroupSums& block) {
    for (int64_t k = 0; k < g.groups; ++k) mean[k] += n * block.mean[k];
  });
  for (int64_t k = 0; k < g.groups; ++k) mean[k] /= count;
  each([&](double n, const GroupSums& block) {
    for (int64_t k = 0; k < g.groups; ++k) {
      const double d = block.mean[k] - mean[k];
      rstd[k] += block.square[k] + n * (d * d);
    }
  });
  for (int64_t k = 0; k < g.groups; ++k) rstd[k] = 1 / __builtin_sqrt(rstd[k] / count + g.eps);
}

// What one image's channels are normalised with, each (c,): y = (x - mean) scale + shift
template <class T>
struct Affine {
  T *mean, *scale, *shift;
};

// What the statistics of group `at` make of its channels [first, last).
template <class T>
void group_affine(const GroupNormArgs<T>& g, int64_t at, int64_t first, int64_t last, double mean,
                  double rstd, const Affine<T>& a) {
  const T rounded = static_cast<T>(mean);
  if (g.mean != nullptr) g.mean[at] = rounded;
  if (g.rstd != nullptr) g.rstd[at] = static_cast<T>(rstd);
  const Vec<T> rounded_off = set1<T>(static_cast<T>(mean - static_cast<double>(rounded)));
  for_lanes<T>(last - first, [&](int64_t i, auto lanes) {
    const int64_t k = first + i;
    Vec<T> scale = set1<T>(static_cast<T>(rstd)), bias = zero<T>();
    if (g.weight != nullptr) scale = scale * load(g.weight + k, lanes);
    if (g.bias != nullptr) bias = load(g.bias + k, lanes);
    store(a.mean + k, set1<T>(rounded), lanes);
    store(a.scale + k, scale, lanes);
    store(a.shift + k, fnma(rounded_off, scale, bias), lanes);
  });
}

template <bool silu_too, class T>
PYDIFF_FLATTEN void apply(const GroupNormArgs<T>& g, int64_t first, int64_t last,
                          const Affine<T>& a) {
  for (int64_t row = first; row < last; ++row) {
    const T* const x = g.x + row * g.ldx;
    T* const y = g.y + row * g.ldy;
    for_groups<T>(g.c, [&](int64_t k, auto at) {
      const auto d = load(x + k, at) - load(a.mean + k, at);
      const auto z = fma(d, load(a.scale + k, at), load(a.shift + k, at));
      if constexpr (silu_too)
        store(y + k, silu(z), at);
      else
        store(y + k, z, at);
    });
  }
}

// x (n, s, c) -> y (n, s, c), mean (n, groups), rstd (n, groups)
template <class T>
void group_norm_impl(const GroupNormArgs<T>& args) {
  if (args.n == 0 || args.c == 0) return;
  const GroupNormArgs<T> g = args;
  const int64_t blocks = ceil_div(g.s, kBlockRows), per_thread = thread_stride<T>(4 * g.c);
  const Scratch sums_of_channels(checked_bytes(num_threads() * per_thread, sizeof(T)));
  const Scratch affines(checked_bytes(g.n * 3 * g.c, sizeof(T)));
  const Scratch sums(checked_bytes(g.n * (blocks + 1) * 2 * g.groups, sizeof(double)));
  T *const channels = sums_of_channels.template as<T>(), *const channel = affines.template as<T>();
  double* const partials = sums.template as<double>();
  const auto partial = [=](int64_t image, int64_t block) {
    return partials + (image * (blocks + 1) + block) * 2 * g.groups;
  };
  const auto affine = [=](int64_t image) -> Affine<T> {
    T* const at = channel + image * 3 * g.c;
    return {at, at + g.c, at + 2 * g.c};
  };
  const auto statistics = [=](int64_t image, int64_t row, int64_t rows, int thread) {
    group_sums(rows, g.c, g.groups, g.x + (image * g.s + row) * g.ldx, g.ldx,
               channels + thread * per_thread,
               GroupSums(partial(image, row / kBlockRows), g.groups));
  };
  const auto moments = [=](int64_t image) {
    const Affine<T> to = affine(image);
    prefetch_to_write(to.mean, 3 * g.c);
    double *const mean = partial(image, blocks), *const rstd = mean + g.groups;
    group_statistics(g, partial(image, 0), mean, rstd);
    const int64_t per_group = g.c / g.groups;
    for (int64_t k = 0; k < g.groups; ++k)
      group_affine(g, image * g.groups + k, k * per_group, (k + 1) * per_group, mean[k], rstd[k],
                   to);
  };
  const auto result = [=](int64_t image, int64_t row, int64_t rows, int) {
    const int64_t first = image * g.s + row;
    if (g.act == kSilu)
      apply<true>(g, first, first + rows, affine(image));
    else
      apply<false>(g, first, first + rows, affine(image));
  };
  in_phases(g.n, g.s, g.c, statistics, moments, result);
}

// ---- backward: z = (x - mean) scale + bias with scale = rstd weight, dz = dy act'(z),
// dx = rstd (dz weight - mean(dz weight) - xhat mean(dz weight xhat))
//    = dz scale + (x - mean) tilt + offset

// One image's channels, each (c,); sums of dz and of dz (x - mean), then of dz xhat.
template <class T>
struct Channels {
  T *mean, *scale, *bias, *tilt, *offset;
  double *dz, *dz_xhat;
};

template <class T>
void begin_image(const GroupNormBackwardArgs<T>& g, int64_t image, const Channels<T>& ch) {
  const int64_t per_group = g.c / g.groups;
  for (int64_t group = 0; group < g.groups; ++group) {
    const T mean = g.mean[image * g.groups + group], rstd = g.rstd[image * g.groups + group];
    for (int64_t k = group * per_group; k < (group + 1) * per_group; ++k) {
      ch.mean[k] = mean;
      ch.scale[k] = rstd * (g.weight != nullptr ? g.weight[k] : T(1));
      ch.bias[k] = g.bias != nullptr ? g.bias[k] : T(0);
    }
  }
}

// Rows [first, first + rows) -> sums (2, c) of dz and dz (x - mean); with SiLU dx = dz. Row by row:
// stores to eight rows at a time took four times as long once dx was not in the cache.
template <bool silu_too, class T>
PYDIFF_FLATTEN void slope_sums(const GroupNormBackwardArgs<T>& g, int64_t first, int64_t rows,
                               const Channels<T>& ch, T* sums) {
  for_lanes<T>(2 * g.c, [&](int64_t k, auto at) { store(sums + k, zero<T>(), at); });
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t from = (first + row) * g.c;
    for_groups<T>(g.c, [&](int64_t k, auto at) {
      const auto d = load(g.x + from + k, at) - load(ch.mean + k, at);
      auto dz = load(g.dy + from + k, at);
      if constexpr (silu_too) {
        dz = dz * silu_slope(fma(d, load(ch.scale + k, at), load(ch.bias + k, at)));
        store(g.dx + from + k, dz, at);
      }
      store(sums + k, load(sums + k, at) + dz, at);
      store(sums + g.c + k, fma(dz, d, load(sums + g.c + k, at)), at);
    });
  }
}

// From the blocks' sums to those of the image, and to what dx needs of them.
template <class T>
void end_sums(const GroupNormBackwardArgs<T>& g, int64_t image, const T* partial,
              const Channels<T>& ch) {
  const int64_t blocks = ceil_div(g.s, kBlockRows), per_group = g.c / g.groups;
  const double count = static_cast<double>(g.s) * static_cast<double>(per_group);
  double* __restrict const sums = ch.dz;
  for (int64_t k = 0; k < 2 * g.c; ++k) sums[k] = 0;
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t k = 0; k < 2 * g.c; ++k) sums[k] += partial[b * 2 * g.c + k];
  for (int64_t group = 0; group < g.groups; ++group) {
    const double rstd = g.rstd[image * g.groups + group];
    double dz = 0, dz_xhat = 0;
    for (int64_t k = group * per_group; k < (group + 1) * per_group; ++k) {
      ch.dz_xhat[k] *= rstd;
      dz += ch.dz[k] * static_cast<double>(ch.scale[k]);
      dz_xhat += ch.dz_xhat[k] * static_cast<double>(ch.scale[k]);
    }
    for (int64_t k = group * per_group; k < (group + 1) * per_group; ++k) {
      ch.offset[k] = static_cast<T>(-dz / count);
      ch.tilt[k] = static_cast<T>(-dz_xhat * rstd / count);
    }
  }
}

// dz: dy, or dx itself
template <class T>
PYDIFF_FLATTEN void input_gradient(const GroupNormBackwardArgs<T>& g, int64_t first, int64_t rows,
                                   const Channels<T>& ch, const T* dz) {
  for_rows(rows, [&](int64_t row, int64_t count) {
    const int64_t from = (first + row) * g.c;
    for_lanes<T>(g.c, [&](int64_t k, auto at) {
      const Vec<T> mean = load(ch.mean + k, at), scale = load(ch.scale + k, at);
      const Vec<T> tilt = load(ch.tilt + k, at), offset = load(ch.offset + k, at);
      for (int64_t r = 0; r < count; ++r) {
        const int64_t i = from + r * g.c + k;
        const Vec<T> rest = fma(load(g.x + i, at) - mean, tilt, offset);
        store(g.dx + i, fma(load(dz + i, at), scale, rest), at);
      }
    });
  });
}

// dweight and dbias (c,): the images' sums (n, 2, c) of dz and dz xhat, added up in order
template <class T>
void parameter_gradients(const GroupNormBackwardArgs<T>& g, double* sums) {
  if (g.dweight == nullptr) return;
  for (int64_t image = 1; image < g.n; ++image) {
    const double* __restrict const other = sums + image * 2 * g.c;
    for (int64_t k = 0; k < 2 * g.c; ++k) sums[k] += other[k];
  }
  for (int64_t k = 0; k < g.c; ++k) {
    g.dbias[k] = static_cast<T>(sums[k]);
    g.dweight[k] = static_cast<T>(sums[g.c + k]);
  }
}

// dx (n, s, c), dweight and dbias (c,) from dy, x and the saved statistics
template <class T>
void group_norm_backward_impl(const GroupNormBackwardArgs<T>& args) {
  const GroupNormBackwardArgs<T> g = args;
  const int64_t blocks = ceil_div(g.s, kBlockRows);
  const Scratch partials(checked_bytes(g.n * blocks * 2 * g.c, sizeof(T)));
  const Scratch channels(checked_bytes(g.n * 5 * g.c, sizeof(T)));
  const Scratch image_sums(checked_bytes(g.n * 2 * g.c, sizeof(double)));
  T *const sums_of_blocks = partials.template as<T>(), *const channel = channels.template as<T>();
  double* const sums = image_sums.template as<double>();
  const auto channels_of = [=](int64_t image) -> Channels<T> {
    T* const p = channel + image * 5 * g.c;
    double* const sum = sums + image * 2 * g.c;
    return {p, p + g.c, p + 2 * g.c, p + 3 * g.c, p + 4 * g.c, sum, sum + g.c};
  };
  const auto partial = [=](int64_t image, int64_t block) {
    return sums_of_blocks + (image * blocks + block) * 2 * g.c;
  };
  const auto slopes = [=](int64_t image, int64_t row, int64_t rows, int) {
    T* const to = partial(image, row / kBlockRows);
    if (g.act == kSilu)
      slope_sums<true>(g, image * g.s + row, rows, channels_of(image), to);
    else
      slope_sums<false>(g, image * g.s + row, rows, channels_of(image), to);
  };
  const auto means = [=](int64_t image) {
    end_sums(g, image, partial(image, 0), channels_of(image));
  };
  const auto gradient = [=](int64_t image, int64_t row, int64_t rows, int) {
    input_gradient(g, image * g.s + row, rows, channels_of(image), g.act == kSilu ? g.dx : g.dy);
  };
  for_each(g.n, g.c, [=](int64_t image, int) { begin_image(g, image, channels_of(image)); });
  in_phases(g.n, g.s, g.c, slopes, means, gradient);
  parameter_gradients(g, sums);
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

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
