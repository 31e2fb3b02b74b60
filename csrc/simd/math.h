// exp, log, erf, tanh, sigmoid, sin and cos, written once over the vocabulary. Measured errors
// (tests/native/test_math.py), in units in the last place, float and double:
// exp 1, log 1, tanh 2.5, sigmoid 2.6, silu 2.8, erf 2.5. NaN gives NaN; overflow gives inf;
// log(0) = -inf.
#pragma once
#include <cstddef>

#include "simd/group.h"
#include "simd/polynomials.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// c[0] + c[1] x + ... by Horner's rule, for a Vec or a Group
template <size_t i = 0, class T, size_t N, class X>
PYDIFF_INLINE X horner(const T (&c)[N], const X& x) {
  if constexpr (i + 2 == N)
    return fma(x, set1<T>(c[i + 1]), set1<T>(c[i]));
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
  static constexpr float infinite = 88.76f;  // exp is 2^128 and more; exp_minus has room to 88.766
};
template <>
struct Ln2<double> {
  static constexpr double high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10;
  static constexpr double exp_min = -746.0, exp_max = 710.0, infinite = 709.82;
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

// Below, X is a Vec or a Group.

// Adding magic to x rounds it to the nearest whole number n and leaves n, with the exponent's bias,
// in the low bits: shifted, they are 2^n where that is normal, and inf for the n that comes next.
template <class T>
constexpr T kMagic = T(1.5) * T(int64_t{1} << Bits<T>::fraction) + T(Bits<T>::bias);

// Arguments of exp and exp2 whose results are normal numbers.
template <class T>
struct Normal;
template <>
struct Normal<float> {
  static constexpr float exp = 87.0f, exp2 = 125.0f;
};
template <>
struct Normal<double> {
  static constexpr double exp = 708.0, exp2 = 1021.0;
};
template <class X, class T = Lane<X>>
PYDIFF_INLINE X clamp(const X& x, Lane<X> low, Lane<X> high) {
  return min_or_second(set1<T>(high), max_or_second(set1<T>(low), x));
}

// exp(-x) = E + E m: returns m, sets E near 2^((n - 1/2)/8), n the whole number next to -8x / ln 2.
// So E is a little less than exp(-x): where that overflows E does not, and the sum is inf. At 0, E
// is even in its last place and 1 + E exact, so that sigmoid(0) is 1/2.
//
// The low bits of `shifted` are n - 1 and eight times the exponent's bias. Shifted on, the lowest
// three lie upon the first of the fraction, which the table turns over to those of E. It saves half
// of the polynomial: silu takes 6.5 cycles for 16 floats on Zen 5, and 8.1 with powers of 2 alone.
template <class X, class T = Lane<X>>
PYDIFF_INLINE X exp_minus(const X& x, X* e) {
  using P = Polynomials<T>;
  const Vec<T> magic = set1<T>(kMagic<T> + T(7 * Bits<T>::bias - 1));
  const X shifted = fma(x, set1<T>(T(-8 * 1.4426950408889634)), magic), n = shifted - magic;
  const X r = fma(n, set1<T>(Ln2<T>::low / 8), fma(n, set1<T>(Ln2<T>::high / 8), x));
  *e = bit_xor(shift_left<Bits<T>::fraction - 3>(shifted), lookup8(P::eighths, shifted));
  return horner(P::exp_m, r);
}

// 2^x, relative error below 1.5 ulp; beyond the exponents of normal numbers it stays at the last.
template <class X, class T = Lane<X>>
PYDIFF_INLINE X exp2_normal(const X& x) {
  const Vec<T> magic = set1<T>(kMagic<T>);
  const X inside = clamp(x, -Normal<T>::exp2, Normal<T>::exp2);
  const X shifted = inside + magic, r = inside - (shifted - magic);
  const X y = fma(r, horner(Polynomials<T>::exp2_q, r), set1<T>(T(1)));
  return y * shift_left<Bits<T>::fraction>(shifted);
}

// 1 + exp(-x), which rounds to 1 where exp(-x) is below the normal range.
template <class X, class T = Lane<X>>
PYDIFF_INLINE X one_and_exp(const X& x) {
  X e;
  const X m = exp_minus(clamp(x, -Ln2<T>::infinite, Normal<T>::exp), &e);
  return fma(e, m, e + set1<T>(T(1)));
}

// 0 where it is below half the smallest normal number; so is silu there.
template <class X, class T = Lane<X>>
PYDIFF_INLINE X sigmoid(const X& x) {
  return set1<T>(T(1)) / one_and_exp(x);
}
// x sigmoid(x) (Elfwing et al. 2018)
template <class X>
PYDIFF_INLINE X silu(const X& x) {
  return x / one_and_exp(x);
}

// d/dx of x sigmoid(inner(x)) = s (1 + x (1 - s) slope) with s = sigmoid(inner) and slope =
// inner'(x), for |inner| <= Normal::exp: 1 - s = exp(-inner) s loses no bits to a subtraction.
template <class X, class Y, class T = Lane<X>>
PYDIFF_INLINE X gated_slope(const X& x, const X& inner, const Y& slope) {
  const Vec<T> one = set1<T>(T(1));
  X e;
  const X m = exp_minus(inner, &e);
  e = fma(e, m, e);
  const X s = one / (e + one);
  return s * fma(x, e * s * slope, one);
}
// d silu(x) / dx; beyond the clamp it is 0 or 1 to the last bit of its sum with 1.
template <class X, class T = Lane<X>>
PYDIFF_INLINE X silu_slope(const X& x) {
  const X u = clamp(x, -Normal<T>::exp, Normal<T>::exp);
  return gated_slope(u, u, set1<T>(T(1)));
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
