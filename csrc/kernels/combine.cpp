// y = sum_i c_i x_i in one pass over memory: what a step of a sampler is made of.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kGrain = 16384;  // elements per task
constexpr int64_t kBlock = 512;    // sums that stay in the first-level cache

// y (n,) = sum of c[term * stride] x[term][begin ...]. The sum is taken in double and rounded once:
// the coefficients of large and small noise levels cancel, and memory is the bound anyway. The
// compiler makes vectors of the inner loops; no fma, so that all instruction sets agree.
template <class T>
void combine_run(const CombineArgs<T>& args, const double* c, int64_t begin, int64_t n) {
  double sums[kBlock];
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t first = begin + i, count = least(kBlock, n - i);
    for (int64_t j = 0; j < count; ++j) sums[j] = c[0] * double(args.x[0][first + j]);
    for (int64_t term = 1; term < args.count; ++term) {
      const double factor = c[term * args.images];
      const T* x = args.x[term] + first;
      for (int64_t j = 0; j < count; ++j) sums[j] += factor * double(x[j]);
    }
    for (int64_t j = 0; j < count; ++j) args.y[first + j] = T(sums[j]);
  }
}

template <class T>
void combine_impl(const CombineArgs<T>& args) {
  const int64_t tasks = ceil_div(args.n, kGrain);
  parallel_for(args.images * tasks, [&](int64_t task, int) {
    const int64_t image = task / tasks, begin = task % tasks * kGrain;
    combine_run(args, args.c + image, image * args.n + begin, least(kGrain, args.n - begin));
  });
}

}  // namespace

void linear_combination(const CombineArgs<float>& args) { combine_impl(args); }
void linear_combination(const CombineArgs<double>& args) { combine_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
