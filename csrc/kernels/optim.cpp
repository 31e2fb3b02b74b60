// Optimiser updates, each one pass over memory.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kGrain = 16384;  // elements per task

template <class F>
void for_chunks(int64_t n, const F& body) {
  parallel_for((n + kGrain - 1) / kGrain, [&](int64_t task, int) {
    const int64_t begin = task * kGrain, left = n - begin;
    body(begin, left < kGrain ? left : kGrain);
  });
}

// In place on p, m, v (n,) from g (n,). With bias corrections c = 1 - beta^step folded into
// scalars: p -= lr wd p; p -= (lr / c1) m / (sqrt(v) / sqrt(c2) + eps). Small factors are applied
// by fnma, since 1 - lr wd would be rounded to float.
template <class T>
void adamw_impl(const AdamWArgs<T>& args) {
  const double correction1 = 1 - __builtin_pow(args.beta1, static_cast<double>(args.step));
  const double correction2 = 1 - __builtin_pow(args.beta2, static_cast<double>(args.step));
  const Vec<T> rest1 = set1<T>(T(1 - args.beta1)), rest2 = set1<T>(T(1 - args.beta2));
  const Vec<T> decay = set1<T>(T(args.lr * args.weight_decay));
  const Vec<T> rate = set1<T>(T(args.lr / correction1)), eps = set1<T>(T(args.eps));
  const Vec<T> root = set1<T>(T(1 / __builtin_sqrt(correction2)));
  for_chunks(args.n, [&](int64_t begin, int64_t count) {
    T *p = args.p + begin, *m = args.m + begin, *v = args.v + begin;
    const T* g = args.g + begin;
    for_lanes<T>(count, [&](int64_t i, auto at) {
      const Vec<T> gi = load(g + i, at), mi = load(m + i, at), vi = load(v + i, at);
      const Vec<T> m_new = fma(rest1, gi - mi, mi), v_new = fma(rest2, fma(gi, gi, -vi), vi);
      const Vec<T> pi = load(p + i, at), decayed = fnma(decay, pi, pi);
      const Vec<T> step = m_new / fma(sqrt(v_new), root, eps);
      store(m + i, m_new, at);
      store(v + i, v_new, at);
      store(p + i, fnma(rate, step, decayed), at);
    });
  });
}

// e (n,) in place towards p (n,): the two weights sum to 1 exactly in this form, so that a long
// average does not drift.
template <class T>
void ema_impl(const EmaArgs<T>& args) {
  const Vec<T> rest = set1<T>(T(1 - args.decay));
  for_chunks(args.n, [&](int64_t begin, int64_t count) {
    T* e = args.e + begin;
    const T* p = args.p + begin;
    for_lanes<T>(count, [&](int64_t i, auto at) {
      const Vec<T> ei = load(e + i, at);
      store(e + i, fma(rest, load(p + i, at) - ei, ei), at);
    });
  });
}

}  // namespace

void adamw(const AdamWArgs<float>& args) { adamw_impl(args); }
void adamw(const AdamWArgs<double>& args) { adamw_impl(args); }
void ema(const EmaArgs<float>& args) { ema_impl(args); }
void ema(const EmaArgs<double>& args) { ema_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
