// x86-64-v2: SSE4.2. 4 floats or 2 doubles. There is no FMA: `fma` rounds twice, so the last bits
// may differ from v3 and v4.
#pragma once
#include <nmmintrin.h>

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

alignas(32) constexpr int32_t kOnes[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

// T, lanes, register, 32-bit words in T, intrinsics' suffixes for T and for its integer
#define PYDIFF_V2(T, WIDTH, REG, WORDS, P, E)                                                  \
  template <>                                                                                  \
  struct Vec<T> {                                                                              \
    static constexpr int width = WIDTH;                                                        \
    REG v;                                                                                     \
  };                                                                                           \
  template <>                                                                                  \
  struct Mask<T> {                                                                             \
    REG m;                                                                                     \
  };                                                                                           \
  template <>                                                                                  \
  PYDIFF_INLINE Vec<T> set1<T>(T x) {                                                          \
    return {_mm_set1_##P(x)};                                                                  \
  }                                                                                            \
  PYDIFF_INLINE Vec<T> load(const T* p) { return {_mm_loadu_##P(p)}; }                         \
  PYDIFF_INLINE Vec<T> load_n(const T* p, int n) {                                             \
    T lanes[WIDTH] = {};                                                                       \
    for (int i = 0; i < n && i < WIDTH; ++i) lanes[i] = p[i];                                  \
    return load(lanes);                                                                        \
  }                                                                                            \
  PYDIFF_INLINE void store(T* p, Vec<T> x) { _mm_storeu_##P(p, x.v); }                         \
  PYDIFF_INLINE void store_n(T* p, Vec<T> x, int n) {                                          \
    T lanes[WIDTH];                                                                            \
    store(lanes, x);                                                                           \
    for (int i = 0; i < n && i < WIDTH; ++i) p[i] = lanes[i];                                  \
  }                                                                                            \
  PYDIFF_INLINE Vec<T> keep_n(Vec<T> x, int n) {                                               \
    const auto* ones = reinterpret_cast<const __m128i*>(kOnes + 4 - n * WORDS);                \
    return {_mm_and_##P(x.v, _mm_castsi128_##P(_mm_loadu_si128(ones)))};                       \
  }                                                                                            \
  PYDIFF_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) { return {_mm_add_##P(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) { return {_mm_sub_##P(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) { return {_mm_mul_##P(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) { return {_mm_div_##P(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return a * b + c; }                 \
  PYDIFF_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) { return c - a * b; }                \
  PYDIFF_INLINE Vec<T> max_or_second(Vec<T> a, Vec<T> b) { return {_mm_max_##P(a.v, b.v)}; }   \
  PYDIFF_INLINE Vec<T> min_or_second(Vec<T> a, Vec<T> b) { return {_mm_min_##P(a.v, b.v)}; }   \
  PYDIFF_INLINE Vec<T> sqrt(Vec<T> x) { return {_mm_sqrt_##P(x.v)}; }                          \
  PYDIFF_INLINE Vec<T> round(Vec<T> x) {                                                       \
    return {_mm_round_##P(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};                \
  }                                                                                            \
  PYDIFF_INLINE Mask<T> lt(Vec<T> a, Vec<T> b) { return {_mm_cmplt_##P(a.v, b.v)}; }           \
  PYDIFF_INLINE Mask<T> le(Vec<T> a, Vec<T> b) { return {_mm_cmple_##P(a.v, b.v)}; }           \
  PYDIFF_INLINE Mask<T> eq(Vec<T> a, Vec<T> b) { return {_mm_cmpeq_##P(a.v, b.v)}; }           \
  PYDIFF_INLINE Mask<T> unordered(Vec<T> a, Vec<T> b) { return {_mm_cmpunord_##P(a.v, b.v)}; } \
  PYDIFF_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {_mm_and_##P(a.m, b.m)}; }    \
  PYDIFF_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {_mm_or_##P(a.m, b.m)}; }     \
  PYDIFF_INLINE bool any(Mask<T> a) { return _mm_movemask_##P(a.m) != 0; }                     \
  PYDIFF_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {                                 \
    return {_mm_blendv_##P(b.v, a.v, m.m)};                                                    \
  }                                                                                            \
  PYDIFF_INLINE Vec<T> bit_and(Vec<T> a, Vec<T> b) { return {_mm_and_##P(a.v, b.v)}; }         \
  PYDIFF_INLINE Vec<T> bit_or(Vec<T> a, Vec<T> b) { return {_mm_or_##P(a.v, b.v)}; }           \
  PYDIFF_INLINE Vec<T> bit_xor(Vec<T> a, Vec<T> b) { return {_mm_xor_##P(a.v, b.v)}; }         \
  template <int bits>                                                                          \
  PYDIFF_INLINE Vec<T> shift_left(Vec<T> x) {                                                  \
    return {_mm_castsi128_##P(_mm_slli_##E(_mm_cast##P##_si128(x.v), bits))};                  \
  }                                                                                            \
  template <int bits>                                                                          \
  PYDIFF_INLINE Vec<T> shift_right(Vec<T> x) {                                                 \
    return {_mm_castsi128_##P(_mm_srli_##E(_mm_cast##P##_si128(x.v), bits))};                  \
  }

PYDIFF_V2(float, 4, __m128, 1, ps, epi32)
PYDIFF_V2(double, 2, __m128d, 2, pd, epi64)
#undef PYDIFF_V2

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
