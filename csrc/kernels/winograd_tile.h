// The transforms of Winograd's minimal filtering F(m x m, 3 x 3) (Lavin & Gray 2016, arXiv
// 1509.09308): y = A^T [(G g G^T) * (B^T d B)] A for tiles d of (m + 2)^2 pixels.
//
// F(4) takes the points 0, +-3/4, +-3/2 and infinity: every constant of B and A is exact in float,
// and the error is half that of the usual points +-1, +-2 (rms 1.5e-6 against 3.2e-6, largest 8e-6
// against 4e-5, 256 channels, outputs of size 1). F(2) takes 0, +-1 and infinity.
#pragma once
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

template <int m>
struct Winograd;

template <>
struct Winograd<2> {
  static constexpr int size = 4;
  // B^T: d (4) -> v (4)
  template <class V>
  static PYDIFF_INLINE void input(const V (&d)[4], V (&v)[4]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  // A^T: m (4) -> y (2)
  template <class V>
  static PYDIFF_INLINE void output(const V (&m)[4], V (&y)[2]) {
    y[0] = (m[0] + m[1]) + m[2];
    y[1] = (m[1] - m[2]) + m[3];
  }
  // A: dy (2) -> dm (4)
  template <class V>
  static PYDIFF_INLINE void output_adjoint(const V (&dy)[2], V (&dm)[4]) {
    dm[0] = dy[0];
    dm[1] = dy[0] + dy[1];
    dm[2] = dy[0] - dy[1];
    dm[3] = dy[1];
  }
  // G: w (3) -> u (4)
  template <class T>
  static PYDIFF_INLINE void weight(const Vec<T> (&w)[3], Vec<T> (&u)[4]) {
    const Vec<T> half = set1<T>(T(0.5)), even = half * (w[0] + w[2]);
    u[0] = w[0];
    u[1] = fma(half, w[1], even);
    u[2] = fnma(half, w[1], even);
    u[3] = w[2];
  }
  // G^T: du (4) -> dw (3)
  template <class T>
  static PYDIFF_INLINE void weight_adjoint(const Vec<T> (&du)[4], Vec<T> (&dw)[3]) {
    const Vec<T> half = set1<T>(T(0.5)), even = du[1] + du[2];
    dw[0] = fma(half, even, du[0]);
    dw[1] = half * (du[1] - du[2]);
    dw[2] = fma(half, even, du[3]);
  }
};

template <>
struct Winograd<4> {
  static constexpr int size = 6;
  static constexpr double p = 0.75, q = 1.5, pp = p * p, qq = q * q;

  template <class T>
  static PYDIFF_INLINE void input(const Vec<T> (&d)[6], Vec<T> (&v)[6]) {
    const auto c = [](double x) { return set1<T>(static_cast<T>(x)); };
    v[0] = fma(c(pp * qq), d[0], fma(c(-pp - qq), d[2], d[4]));
    const Vec<T> even = fma(c(-qq), d[2], d[4]), odd = fma(c(-qq), d[1], d[3]);
    v[1] = fma(c(p), odd, even);
    v[2] = fma(c(-p), odd, even);
    const Vec<T> even2 = fma(c(-pp), d[2], d[4]), odd2 = fma(c(-pp), d[1], d[3]);
    v[3] = fma(c(q), odd2, even2);
    v[4] = fma(c(-q), odd2, even2);
    v[5] = fma(c(pp * qq), d[1], fma(c(-pp - qq), d[3], d[5]));
  }
  template <class T>
  static PYDIFF_INLINE void output(const Vec<T> (&m)[6], Vec<T> (&y)[4]) {
    const auto c = [](double x) { return set1<T>(static_cast<T>(x)); };
    const Vec<T> even = m[1] + m[2], odd = m[1] - m[2];
    const Vec<T> even2 = m[3] + m[4], odd2 = m[3] - m[4];
    y[0] = m[0] + (even + even2);
    y[1] = fma(c(p), odd, c(q) * odd2);
    y[2] = fma(c(pp), even, c(qq) * even2);
    y[3] = fma(c(pp * p), odd, fma(c(qq * q), odd2, m[5]));
  }
  template <class T>
  static PYDIFF_INLINE void output_adjoint(const Vec<T> (&dy)[4], Vec<T> (&dm)[6]) {
    const auto c = [](double x) { return set1<T>(static_cast<T>(x)); };
    dm[0] = dy[0];
    const Vec<T> even = fma(c(pp), dy[2], dy[0]), odd = fma(c(pp * p), dy[3], c(p) * dy[1]);
    dm[1] = even + odd;
    dm[2] = even - odd;
    const Vec<T> even2 = fma(c(qq), dy[2], dy[0]), odd2 = fma(c(qq * q), dy[3], c(q) * dy[1]);
    dm[3] = even2 + odd2;
    dm[4] = even2 - odd2;
    dm[5] = dy[3];
  }
  static constexpr double a = 1 / (2 * pp * (pp - qq)), b = 1 / (2 * qq * (qq - pp));
  template <class T>
  static PYDIFF_INLINE void weight(const Vec<T> (&w)[3], Vec<T> (&u)[6]) {
    const auto c = [](double x) { return set1<T>(static_cast<T>(x)); };
    u[0] = c(1 / (pp * qq)) * w[0];
    const Vec<T> even = fma(c(a * pp), w[2], c(a) * w[0]);
    u[1] = fma(c(a * p), w[1], even);
    u[2] = fma(c(-a * p), w[1], even);
    const Vec<T> even2 = fma(c(b * qq), w[2], c(b) * w[0]);
    u[3] = fma(c(b * q), w[1], even2);
    u[4] = fma(c(-b * q), w[1], even2);
    u[5] = w[2];
  }
  template <class T>
  static PYDIFF_INLINE void weight_adjoint(const Vec<T> (&du)[6], Vec<T> (&dw)[3]) {
    const auto c = [](double x) { return set1<T>(static_cast<T>(x)); };
    const Vec<T> even = du[1] + du[2], odd = du[1] - du[2];
    const Vec<T> even2 = du[3] + du[4], odd2 = du[3] - du[4];
    dw[0] = fma(c(1 / (pp * qq)), du[0], fma(c(a), even, c(b) * even2));
    dw[1] = fma(c(a * p), odd, c(b * q) * odd2);
    dw[2] = fma(c(a * pp), even, fma(c(b * qq), even2, du[5]));
  }
};

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
