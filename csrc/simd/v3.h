// x86-64-v3: AVX2 and FMA. 8 floats or 4 doubles.
#pragma once
#include <immintrin.h>
#if !defined(__AVX2__) || !defined(__FMA__)
#error "v3 kernels need -march=x86-64-v3"
#endif

#define PYDIFF_HAS_ZIP

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// Eight ones, eight zeros: n lanes of ones begin at 8 - n, for 32-bit lanes and, in pairs, 64-bit.
alignas(64) constexpr int32_t kOnes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
PYDIFF_INLINE __m256i first_32bit(int n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnes + 8 - n));
}

// T, lanes, register, 32-bit words in T, intrinsics' suffixes for T and for its integer
#define PYDIFF_V3(T, WIDTH, REG, WORDS, P, E)                                                     \
  template <>                                                                                     \
  struct Vec<T> {                                                                                 \
    static constexpr int width = WIDTH;                                                           \
    REG v;                                                                                        \
  };                                                                                              \
  template <>                                                                                     \
  struct Mask<T> {                                                                                \
    REG m;                                                                                        \
  };                                                                                              \
  template <>                                                                                     \
  PYDIFF_INLINE Vec<T> set1<T>(T x) {                                                             \
    return {_mm256_set1_##P(x)};                                                                  \
  }                                                                                               \
  PYDIFF_INLINE Vec<T> load(const T* p) { return {_mm256_loadu_##P(p)}; }                         \
  PYDIFF_INLINE Vec<T> load_n(const T* p, int n) {                                                \
    return {_mm256_maskload_##P(p, first_32bit(n * WORDS))};                                      \
  }                                                                                               \
  PYDIFF_INLINE void store(T* p, Vec<T> x) { _mm256_storeu_##P(p, x.v); }                         \
  PYDIFF_INLINE void store_n(T* p, Vec<T> x, int n) {                                             \
    _mm256_maskstore_##P(p, first_32bit(n * WORDS), x.v);                                         \
  }                                                                                               \
  PYDIFF_INLINE Vec<T> keep_n(Vec<T> x, int n) {                                                  \
    return {_mm256_and_##P(x.v, _mm256_castsi256_##P(first_32bit(n * WORDS)))};                   \
  }                                                                                               \
  PYDIFF_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) { return {_mm256_add_##P(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) { return {_mm256_sub_##P(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) { return {_mm256_mul_##P(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) { return {_mm256_div_##P(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {                                        \
    return {_mm256_fmadd_##P(a.v, b.v, c.v)};                                                     \
  }                                                                                               \
  PYDIFF_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {                                       \
    return {_mm256_fnmadd_##P(a.v, b.v, c.v)};                                                    \
  }                                                                                               \
  PYDIFF_INLINE Vec<T> max_or_second(Vec<T> a, Vec<T> b) { return {_mm256_max_##P(a.v, b.v)}; }   \
  PYDIFF_INLINE Vec<T> min_or_second(Vec<T> a, Vec<T> b) { return {_mm256_min_##P(a.v, b.v)}; }   \
  PYDIFF_INLINE Vec<T> sqrt(Vec<T> x) { return {_mm256_sqrt_##P(x.v)}; }                          \
  PYDIFF_INLINE Vec<T> round(Vec<T> x) {                                                          \
    return {_mm256_round_##P(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};                \
  }                                                                                               \
  PYDIFF_INLINE Mask<T> lt(Vec<T> a, Vec<T> b) { return {_mm256_cmp_##P(a.v, b.v, _CMP_LT_OQ)}; } \
  PYDIFF_INLINE Mask<T> le(Vec<T> a, Vec<T> b) { return {_mm256_cmp_##P(a.v, b.v, _CMP_LE_OQ)}; } \
  PYDIFF_INLINE Mask<T> eq(Vec<T> a, Vec<T> b) { return {_mm256_cmp_##P(a.v, b.v, _CMP_EQ_OQ)}; } \
  PYDIFF_INLINE Mask<T> unordered(Vec<T> a, Vec<T> b) {                                           \
    return {_mm256_cmp_##P(a.v, b.v, _CMP_UNORD_Q)};                                              \
  }                                                                                               \
  PYDIFF_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {_mm256_and_##P(a.m, b.m)}; }    \
  PYDIFF_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {_mm256_or_##P(a.m, b.m)}; }     \
  PYDIFF_INLINE bool any(Mask<T> a) { return _mm256_movemask_##P(a.m) != 0; }                     \
  PYDIFF_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {                                    \
    return {_mm256_blendv_##P(b.v, a.v, m.m)};                                                    \
  }                                                                                               \
  PYDIFF_INLINE Vec<T> bit_and(Vec<T> a, Vec<T> b) { return {_mm256_and_##P(a.v, b.v)}; }         \
  PYDIFF_INLINE Vec<T> bit_or(Vec<T> a, Vec<T> b) { return {_mm256_or_##P(a.v, b.v)}; }           \
  PYDIFF_INLINE Vec<T> bit_xor(Vec<T> a, Vec<T> b) { return {_mm256_xor_##P(a.v, b.v)}; }         \
  template <int bits>                                                                             \
  PYDIFF_INLINE Vec<T> shift_left(Vec<T> x) {                                                     \
    return {_mm256_castsi256_##P(_mm256_slli_##E(_mm256_cast##P##_si256(x.v), bits))};            \
  }                                                                                               \
  /* a0 b0 a1 b1 ...: the first half of these in low, the second in high */                       \
  PYDIFF_INLINE void zip(Vec<T> a, Vec<T> b, Vec<T>* low, Vec<T>* high) {                         \
    const REG even = _mm256_unpacklo_##P(a.v, b.v), odd = _mm256_unpackhi_##P(a.v, b.v);          \
    low->v = _mm256_permute2f128_##P(even, odd, 0x20);                                            \
    high->v = _mm256_permute2f128_##P(even, odd, 0x31);                                           \
  }                                                                                               \
  template <int bits>                                                                             \
  PYDIFF_INLINE Vec<T> shift_right(Vec<T> x) {                                                    \
    return {_mm256_castsi256_##P(_mm256_srli_##E(_mm256_cast##P##_si256(x.v), bits))};            \
  }

PYDIFF_V3(float, 8, __m256, 1, ps, epi32)
PYDIFF_V3(double, 4, __m256d, 2, pd, epi64)
#undef PYDIFF_V3

PYDIFF_INLINE Vec<float> lookup8(const uint32_t (&table)[8], Vec<float> i) {
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table));
  return {_mm256_castsi256_ps(_mm256_permutevar8x32_epi32(all, _mm256_castps_si256(i.v)))};
}

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
