// Fixed features of the times of a batch: a few hundred numbers per image, so the C library's sine,
// cosine and logarithm do; they give one answer for every instruction set.
#include <math.h>

#include "core/args.h"
#include "core/parallel.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kGrain = 4096;  // elements per task
constexpr double kPi = 3.141592653589793;

template <class T>
void sinusoids_impl(const SinusoidArgs<T>& args) {
  const int64_t half = args.features / 2;
  const int64_t sine = args.cosine_first ? half : 0, cosine = half - sine;
  parallel_for(args.n, [&](int64_t image, int) {
    T* y = args.y + image * args.features;
    for (int64_t i = 0; i < half; ++i) {
      const float product = args.t[image] * args.frequency[i];
      const double angle = product;
      y[sine + i] = static_cast<T>(static_cast<float>(::sin(angle)));
      y[cosine + i] = static_cast<T>(static_cast<float>(::cos(angle)));
    }
    if (args.features % 2 != 0) y[args.features - 1] = T(0);
  });
}

// One image; the angles are computed in A, with pi as T has it
template <class A, class T>
PYDIFF_INLINE void fourier_row(A log_t, const T* weight, int64_t features, T* y) {
  for (int64_t i = 0; i < features; ++i) {
    const A turns = log_t * static_cast<A>(weight[i]);
    const A product = A(2) * turns * static_cast<A>(static_cast<T>(kPi));
    const double angle = static_cast<double>(product);
    y[i] = static_cast<T>(::sin(angle));
    y[features + i] = static_cast<T>(::cos(angle));
  }
}

template <class T>
void fourier_impl(const FourierArgs<T>& args) {
  parallel_for(args.n, [&](int64_t image, int) {
    T* y = args.y + image * 2 * args.features;
    if (args.t64 != nullptr)
      return fourier_row<double, T>(::log(args.t64[image]), args.weight, args.features, y);
    const float log_t = static_cast<float>(::log(static_cast<double>(args.t32[image])));
    fourier_row<T, T>(static_cast<T>(log_t), args.weight, args.features, y);
  });
}

template <class T>
void cast_impl(const CastArgs<T>& args) {
  parallel_for(ceil_div(args.n, kGrain), [&](int64_t task, int) {
    const int64_t begin = task * kGrain, end = least(begin + kGrain, args.n);
    for (int64_t i = begin; i < end; ++i)
      args.y[i] = static_cast<T>(args.x64 != nullptr ? args.x64[i] : args.x32[i]);
  });
}

}  // namespace

void sinusoids(const SinusoidArgs<float>& args) { sinusoids_impl(args); }
void sinusoids(const SinusoidArgs<double>& args) { sinusoids_impl(args); }
void fourier(const FourierArgs<float>& args) { fourier_impl(args); }
void fourier(const FourierArgs<double>& args) { fourier_impl(args); }
void cast(const CastArgs<float>& args) { cast_impl(args); }
void cast(const CastArgs<double>& args) { cast_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
