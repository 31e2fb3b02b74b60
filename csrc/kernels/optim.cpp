// Optimiser updates: all parameters in one pass over memory.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kGrain = 16384;  // elements per task

// Where each item's tasks begin: starts[i] to starts[i + 1] are those of item i. An item of no
// elements has none.
template <class Item>
class Tasks {
 public:
  Tasks(const Item* items, int64_t count)
      : items_(items), count_(count), scratch_(checked_bytes(count + 1, sizeof(int64_t))) {
    int64_t* starts = scratch_.as<int64_t>();
    starts[0] = 0;
    for (int64_t i = 0; i < count; ++i) starts[i + 1] = starts[i] + ceil_div(items[i].n, kGrain);
  }

  int64_t size() const { return scratch_.as<int64_t>()[count_]; }

  // body(item, begin, elements, task)
  template <class F>
  void for_each(const F& body) const {
    const int64_t* starts = scratch_.as<int64_t>();
    parallel_for(size(), [&](int64_t task, int) {
      int64_t low = 0, high = count_;  // starts[low] <= task < starts[high]
      while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        (starts[middle] <= task ? low : high) = middle;
      }
      const int64_t begin = (task - starts[low]) * kGrain;
      body(items_[low], begin, least(kGrain, items_[low].n - begin), task);
    });
  }

 private:
  const Item* items_;
  int64_t count_;
  Scratch scratch_;
};

// The factors of one step, with the bias corrections c = 1 - beta^step folded in:
// p -= lr wd p; p -= (lr / c1) m / (sqrt(v) / sqrt(c2) + eps). Small factors are applied by fnma,
// since 1 - lr wd would be rounded to float.
template <class T>
struct Factors {
  Vec<T> scale, rest1, rest2, decay, rate, root, eps, rest;

  explicit Factors(const AdamWArgs<T>& args) {
    const double correction1 = 1 - __builtin_pow(args.beta1, static_cast<double>(args.step));
    const double correction2 = 1 - __builtin_pow(args.beta2, static_cast<double>(args.step));
    scale = set1<T>(T(args.scale));
    rest1 = set1<T>(T(1 - args.beta1));
    rest2 = set1<T>(T(1 - args.beta2));
    decay = set1<T>(T(args.lr * args.weight_decay));
    rate = set1<T>(T(args.lr / correction1));
    root = set1<T>(T(1 / __builtin_sqrt(correction2)));
    eps = set1<T>(T(args.eps));
    rest = set1<T>(T(1 - args.decay));
  }
};

// The two weights of an average sum to 1 exactly in this form, so that a long one does not drift.
template <class T>
PYDIFF_INLINE Vec<T> averaged(Vec<T> e, Vec<T> p, Vec<T> rest) {
  return fma(rest, p - e, e);
}

// In place on `count` elements of p, m, v and, where kAverage, e
template <bool kAverage, class T>
void adamw_chunk(const AdamWItem<T>& item, int64_t begin, int64_t count, const Factors<T>& f) {
  T *p = item.p + begin, *m = item.m + begin, *v = item.v + begin;
  T* e = kAverage ? item.e + begin : nullptr;
  const T* g = item.g + begin;
  for_lanes<T>(count, [&](int64_t i, auto at) {
    const Vec<T> gi = load(g + i, at) * f.scale, mi = load(m + i, at), vi = load(v + i, at);
    const Vec<T> m_new = fma(f.rest1, gi - mi, mi), v_new = fma(f.rest2, fma(gi, gi, -vi), vi);
    const Vec<T> pi = load(p + i, at), decayed = fnma(f.decay, pi, pi);
    const Vec<T> step = m_new / fma(sqrt(v_new), f.root, f.eps);
    const Vec<T> p_new = fnma(f.rate, step, decayed);
    store(m + i, m_new, at);
    store(v + i, v_new, at);
    store(p + i, p_new, at);
    if (kAverage) store(e + i, averaged(load(e + i, at), p_new, f.rest), at);
  });
}

template <class T>
void adamw_impl(const AdamWArgs<T>& args) {
  const Factors<T> factors(args);
  const Tasks<AdamWItem<T>> tasks(args.items, args.count);
  tasks.for_each([&](const AdamWItem<T>& item, int64_t begin, int64_t count, int64_t) {
    if (item.e != nullptr)
      adamw_chunk<true>(item, begin, count, factors);
    else
      adamw_chunk<false>(item, begin, count, factors);
  });
}

template <class T>
void ema_impl(const EmaArgs<T>& args) {
  const Vec<T> rest = set1<T>(T(1 - args.decay));
  const Tasks<EmaItem<T>> tasks(args.items, args.count);
  tasks.for_each([&](const EmaItem<T>& item, int64_t begin, int64_t count, int64_t) {
    T* e = item.e + begin;
    const T* p = item.p + begin;
    for_lanes<T>(count, [&](int64_t i, auto at) {
      store(e + i, averaged(load(e + i, at), load(p + i, at), rest), at);
    });
  });
}

constexpr int kSums = 32;  // element i of a task goes to sum i mod kSums, in any instruction set

// The sum of x^2 in double; the compiler makes vectors of the inner loop
template <class T>
double sum_of_squares_chunk(const T* x, int64_t n) {
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums)
    for (int j = 0; j < kSums; ++j) sums[j] += double(x[i + j]) * double(x[i + j]);
  for (int j = 0; i + j < n; ++j) sums[j] += double(x[i + j]) * double(x[i + j]);
  for (int half = kSums / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) sums[j] += sums[j + half];
  return sums[0];
}

template <class T>
void sum_of_squares_impl(const SquaresArgs<T>& args) {
  const Tasks<SquaresItem<T>> tasks(args.items, args.count);
  const Scratch scratch(checked_bytes(tasks.size(), sizeof(double)));
  double* partial = scratch.as<double>();
  tasks.for_each([&](const SquaresItem<T>& item, int64_t begin, int64_t count, int64_t task) {
    partial[task] = sum_of_squares_chunk(item.x + begin, count);
  });
  double sum = 0;
  for (int64_t task = 0; task < tasks.size(); ++task) sum += partial[task];
  *args.y = sum;
}

}  // namespace

void adamw(const AdamWArgs<float>& args) { adamw_impl(args); }
void adamw(const AdamWArgs<double>& args) { adamw_impl(args); }
void ema(const EmaArgs<float>& args) { ema_impl(args); }
void ema(const EmaArgs<double>& args) { ema_impl(args); }
void sum_of_squares(const SquaresArgs<float>& args) { sum_of_squares_impl(args); }
void sum_of_squares(const SquaresArgs<double>& args) { sum_of_squares_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
