// exp, log, erf, tanh, sigmoid, sin and cos, written once over the vocabulary. Measured errors
// (tests/native/test_math.py), in units in the last place, float and double:
// exp 1, log 1, tanh 2.5, sigmoid 2, erf 2.5. NaN gives NaN; overflow gives inf; log(0) = -inf.
#pragma once
#include <cstddef>

#include "simd/polynomials.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// c[0] + c[1] x + ... by Horner's rule
template <size_t i = 0, class T, size_t N>
PYDIFF_INLINE Vec<T> horner(const T (&c)[N], Vec<T> x) {
  if constexpr (i + 1 == N)
    return set1<T>(c[i]);
  else
    return fma(horner<i + 1>(c, x), x, set1<T>(c[i]));
}

// ln 2 in two parts: n * high is exact for every exponent n, also without FMA.
template <class T>
struct Ln2;
template <>
struct Ln2<float> {
  static constexpr float high = 0.693359375f, low = -2.12194440e-4f;
  static constexpr float exp_min = -104.0f, exp_max = 89.0f;  // exp gives 0 and inf from here on
};
template <>
struct Ln2<double> {
  static constexpr double high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10;
  static constexpr double exp_min = -746.0, exp_max = 710.0;
};

// x = n ln 2 + r with n integral and |r| <= ln(2)/2; returns exp(r) - 1.
template <class T>
PYDIFF_INLINE Vec<T> exp_reduced(Vec<T> x, Vec<T>* n) {
  *n = round(x * set1<T>(T(1.4426950408889634)));
  Vec<T> r = fnma(*n, set1<T>(Ln2<T>::high), x);
  r = fnma(*n, set1<T>(Ln2<T>::low), r);
  return fma(r * r, horner(Polynomials<T>::exp_q, r), r);
}

template <class T>
PYDIFF_INLINE Vec<T> exp(Vec<T> x) {
  Vec<T> n;
  x = min_or_second(set1<T>(Ln2<T>::exp_max), max_or_second(set1<T>(Ln2<T>::exp_min), x));
  const Vec<T> p = exp_reduced(x, &n);
  return ldexp_(p + set1<T>(T(1)), n);
}

// s = f / (2 + f), log(1 + f) = f - (f^2/2 - s (f^2/2 + R)): the small terms are summed first.
template <class T>
PYDIFF_INLINE Vec<T> log(Vec<T> x) {
  constexpr T smallest_normal = sizeof(T) == 4 ? T(1.1754943508222875e-38) : T(0x1p-1022);
  constexpr int lift = Bits<T>::fraction + 1;
  const Vec<T> one = set1<T>(T(1)), half = set1<T>(T(0.5));
  const Mask<T> subnormal = lt(x, set1<T>(smallest_normal));
  const Vec<T> lifted = x * set1<T>(T(int64_t{1} << lift));
  Vec<T> e;
  const Vec<T> f = frexp_(select(subnormal, lifted, x), &e) - one;
  e = select(subnormal, e - set1<T>(T(lift)), e);
  const Vec<T> s = f / (f + set1<T>(T(2))), z = s * s, h = half * f * f;
  const Vec<T> r = z * horner(Polynomials<T>::log_p, z);
  const Vec<T> small = fma(e, set1<T>(Ln2<T>::low), s * (h + r));
  Vec<T> y = fma(e, set1<T>(Ln2<T>::high), f - (h - small));
  const Vec<T> inf = set1<T>(T(__builtin_inf()));
  y = select(eq(x, inf), inf, y);
  y = select(eq(x, zero<T>()), -inf, y);
  return select(lt(x, zero<T>()) | is_nan(x), set1<T>(T(__builtin_nan(""))), y);
}

// tanh |x| = m / (m + 2) with m = exp(2 |x|) - 1, which is exact to the last bits near 0 too.
template <class T>
PYDIFF_INLINE Vec<T> tanh(Vec<T> x) {
  const Vec<T> one = set1<T>(T(1));
  const Vec<T> u = min(abs(x), set1<T>(sizeof(T) == 4 ? T(10) : T(20)));
  Vec<T> n;
  const Vec<T> p = exp_reduced(u + u, &n), scale = pow2(n);
  const Vec<T> m = fma(scale, p, scale - one);
  return copysign(m / (m + set1<T>(T(2))), x);
}

// Both 1 / (1 + exp(-x)) and 1 / (1 + exp(x)), neither losing bits to a subtraction from 1.
template <class T>
PYDIFF_INLINE Vec<T> sigmoid(Vec<T> x, Vec<T>* one_minus) {
  const Vec<T> one = set1<T>(T(1)), e = exp(-abs(x));
  const Vec<T> high = one / (one + e), low = e * high;
  const Mask<T> negative = lt(x, zero<T>());
  *one_minus = select(negative, high, low);
  return select(negative, low, high);
}
template <class T>
PYDIFF_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> one = set1<T>(T(1)), e = exp(-abs(x));
  return select(lt(x, zero<T>()), e, one) / (one + e);
}

// exp(-x^2) and erfc(|x|), the latter for |x| >= 1. The rounding of x^2 is put back.
template <class T>
PYDIFF_INLINE Vec<T> erfc_tail(Vec<T> x, Vec<T>* gauss) {
  using P = Polynomials<T>;
  const Vec<T> u = min(abs(x), set1<T>(P::erfc_end)), u2 = u * u;
  const Vec<T> e = exp(-u2);
  *gauss = fnma(e, fma(u, u, -u2), e);
  const Vec<T> t = set1<T>(T(1)) / (u + set1<T>(T(3)));
  const Vec<T> y = fma(t, set1<T>(P::erfc_slope), set1<T>(-P::erfc_shift));
  return *gauss * t * horner(P::erfc_g, y);
}

template <class T>
PYDIFF_INLINE Vec<T> erf(Vec<T> x) {
  Vec<T> gauss;
  const Vec<T> one = set1<T>(T(1)), tail = erfc_tail(x, &gauss);
  const Vec<T> inner = x * horner(Polynomials<T>::erf_s, x * x);
  return select(lt(abs(x), one), inner, copysign(one - tail, x));
}

// The normal distribution: returns Phi(x), whose relative error stays near x^2 ulp for negative x,
// and its density.
template <class T>
PYDIFF_INLINE Vec<T> normal_cdf(Vec<T> x, Vec<T>* density) {
  Vec<T> gauss;
  const Vec<T> one = set1<T>(T(1)), half = set1<T>(T(0.5));
  const Vec<T> u = x * set1<T>(T(0.70710678118654752440));
  const Vec<T> tail = half * erfc_tail(u, &gauss);
  const Vec<T> inner = fma(half * u, horner(Polynomials<T>::erf_s, u * u), half);
  *density = gauss * set1<T>(T(0.39894228040143267794));
  const Vec<T> outer = select(lt(x, zero<T>()), tail, one - tail);
  return select(lt(abs(u), one), inner, outer);
}

// sin and cos of 2 pi u for 0 <= u <= 1: quarter turns are taken off exactly.
template <class T>
PYDIFF_INLINE void sincos_2pi(Vec<T> u, Vec<T>* sine, Vec<T>* cosine) {
  const Vec<T> one = set1<T>(T(1)), two = set1<T>(T(2));
  const Vec<T> quarter = round(u * set1<T>(T(4)));  // 0 .. 4
  const Vec<T> r = fnma(quarter, set1<T>(T(0.25)), u), z = r * r;
  const Vec<T> s = r * horner(Polynomials<T>::sin_s, z);
  const Vec<T> c = fma(z, horner(Polynomials<T>::cos_c, z), one);
  const Mask<T> odd = eq(quarter, one) | eq(quarter, set1<T>(T(3)));
  const Mask<T> sine_negative = eq(quarter, two) | eq(quarter, set1<T>(T(3)));
  const Mask<T> cosine_negative = eq(quarter, one) | eq(quarter, two);
  const Vec<T> s_or_c = select(odd, c, s), c_or_s = select(odd, s, c);
  *sine = select(sine_negative, -s_or_c, s_or_c);
  *cosine = select(cosine_negative, -c_or_s, c_or_s);
}

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
