// Portable C++: one lane. `fma` is fused where the processor has the instruction.
#pragma once
#include <cmath>

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

#define PYDIFF_SCALAR(T, FMA, SQRT, NEARBYINT)                                               \
  template <>                                                                                \
  struct Vec<T> {                                                                            \
    static constexpr int width = 1;                                                          \
    T v;                                                                                     \
  };                                                                                         \
  template <>                                                                                \
  struct Mask<T> {                                                                           \
    bool m;                                                                                  \
  };                                                                                         \
  template <>                                                                                \
  PYDIFF_INLINE Vec<T> set1<T>(T x) {                                                        \
    return {x};                                                                              \
  }                                                                                          \
  PYDIFF_INLINE Vec<T> load(const T* p) { return {*p}; }                                     \
  PYDIFF_INLINE Vec<T> load_n(const T* p, int n) { return {n > 0 ? *p : T(0)}; }             \
  PYDIFF_INLINE void store(T* p, Vec<T> x) { *p = x.v; }                                     \
  PYDIFF_INLINE void store_n(T* p, Vec<T> x, int n) {                                        \
    if (n > 0) *p = x.v;                                                                     \
  }                                                                                          \
  PYDIFF_INLINE Vec<T> keep_n(Vec<T> x, int n) { return {n > 0 ? x.v : T(0)}; }              \
  PYDIFF_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) { return {a.v + b.v}; }                 \
  PYDIFF_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) { return {a.v - b.v}; }                 \
  PYDIFF_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) { return {a.v * b.v}; }                 \
  PYDIFF_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) { return {a.v / b.v}; }                 \
  PYDIFF_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return {FMA(a.v, b.v, c.v)}; }    \
  PYDIFF_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) { return {FMA(-a.v, b.v, c.v)}; }  \
  PYDIFF_INLINE Vec<T> max_or_second(Vec<T> a, Vec<T> b) { return {a.v > b.v ? a.v : b.v}; } \
  PYDIFF_INLINE Vec<T> min_or_second(Vec<T> a, Vec<T> b) { return {a.v < b.v ? a.v : b.v}; } \
  PYDIFF_INLINE Vec<T> sqrt(Vec<T> x) { return {SQRT(x.v)}; }                                \
  PYDIFF_INLINE Vec<T> round(Vec<T> x) { return {NEARBYINT(x.v)}; }                          \
  PYDIFF_INLINE Mask<T> lt(Vec<T> a, Vec<T> b) { return {a.v < b.v}; }                       \
  PYDIFF_INLINE Mask<T> le(Vec<T> a, Vec<T> b) { return {a.v <= b.v}; }                      \
  PYDIFF_INLINE Mask<T> eq(Vec<T> a, Vec<T> b) { return {a.v == b.v}; }                      \
  PYDIFF_INLINE Mask<T> unordered(Vec<T> a, Vec<T> b) { return {a.v != a.v || b.v != b.v}; } \
  PYDIFF_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {a.m && b.m}; }             \
  PYDIFF_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {a.m || b.m}; }             \
  PYDIFF_INLINE bool any(Mask<T> a) { return a.m; }                                          \
  PYDIFF_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) { return m.m ? a : b; }         \
  PYDIFF_INLINE Vec<T> bit_and(Vec<T> a, Vec<T> b) {                                         \
    return {from_bits<T>(to_bits(a.v) & to_bits(b.v))};                                      \
  }                                                                                          \
  PYDIFF_INLINE Vec<T> bit_or(Vec<T> a, Vec<T> b) {                                          \
    return {from_bits<T>(to_bits(a.v) | to_bits(b.v))};                                      \
  }                                                                                          \
  PYDIFF_INLINE Vec<T> bit_xor(Vec<T> a, Vec<T> b) {                                         \
    return {from_bits<T>(to_bits(a.v) ^ to_bits(b.v))};                                      \
  }                                                                                          \
  template <int bits>                                                                        \
  PYDIFF_INLINE Vec<T> shift_left(Vec<T> x) {                                                \
    return {from_bits<T>(to_bits(x.v) << bits)};                                             \
  }                                                                                          \
  template <int bits>                                                                        \
  PYDIFF_INLINE Vec<T> shift_right(Vec<T> x) {                                               \
    return {from_bits<T>(to_bits(x.v) >> bits)};                                             \
  }

#ifdef __FP_FAST_FMA
#define PYDIFF_FMA_FLOAT __builtin_fmaf
#define PYDIFF_FMA_DOUBLE __builtin_fma
#else
#define PYDIFF_FMA_FLOAT(a, b, c) ((a) * (b) + (c))
#define PYDIFF_FMA_DOUBLE(a, b, c) ((a) * (b) + (c))
#endif
PYDIFF_SCALAR(float, PYDIFF_FMA_FLOAT, __builtin_sqrtf, __builtin_nearbyintf)
PYDIFF_SCALAR(double, PYDIFF_FMA_DOUBLE, __builtin_sqrt, __builtin_nearbyint)
#undef PYDIFF_SCALAR

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
