// x86-64-v4: AVX-512 F, BW, CD, DQ, VL. 16 floats or 8 doubles.
#pragma once
#include <immintrin.h>
#ifndef __AVX512DQ__
#error "v4 kernels need -march=x86-64-v4"
#endif

#define PYDIFF_HAS_LDEXP
#define PYDIFF_HAS_ZIP

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// Many functions go through their maskz forms here with a full mask, which compile to the same
// instructions: GCC 12 warns about the undefined operand inside the plain ones (bug 105593).
//
// T, lanes, register, mask register, intrinsics' suffixes for T and for its integer
#define PYDIFF_V4(T, WIDTH, REG, MASK, P, E)                                                       \
  template <>                                                                                      \
  struct Vec<T> {                                                                                  \
    static constexpr int width = WIDTH;                                                            \
    REG v;                                                                                         \
  };                                                                                               \
  template <>                                                                                      \
  struct Mask<T> {                                                                                 \
    MASK m;                                                                                        \
  };                                                                                               \
  PYDIFF_INLINE MASK first_lanes(int n, Vec<T>*) { return static_cast<MASK>((1u << n) - 1); }      \
  template <>                                                                                      \
  PYDIFF_INLINE Vec<T> set1<T>(T x) {                                                              \
    return {_mm512_set1_##P(x)};                                                                   \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> load(const T* p) { return {_mm512_loadu_##P(p)}; }                          \
  PYDIFF_INLINE Vec<T> load_n(const T* p, int n) {                                                 \
    return {_mm512_maskz_loadu_##P(first_lanes(n, static_cast<Vec<T>*>(nullptr)), p)};             \
  }                                                                                                \
  PYDIFF_INLINE void store(T* p, Vec<T> x) { _mm512_storeu_##P(p, x.v); }                          \
  PYDIFF_INLINE void store_n(T* p, Vec<T> x, int n) {                                              \
    _mm512_mask_storeu_##P(p, first_lanes(n, static_cast<Vec<T>*>(nullptr)), x.v);                 \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> keep_n(Vec<T> x, int n) {                                                   \
    return {_mm512_maskz_mov_##P(first_lanes(n, static_cast<Vec<T>*>(nullptr)), x.v)};             \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) { return {_mm512_add_##P(a.v, b.v)}; }        \
  PYDIFF_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) { return {_mm512_sub_##P(a.v, b.v)}; }        \
  PYDIFF_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) { return {_mm512_mul_##P(a.v, b.v)}; }        \
  PYDIFF_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) { return {_mm512_div_##P(a.v, b.v)}; }        \
  PYDIFF_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {                                         \
    return {_mm512_fmadd_##P(a.v, b.v, c.v)};                                                      \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {                                        \
    return {_mm512_fnmadd_##P(a.v, b.v, c.v)};                                                     \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> max_or_second(Vec<T> a, Vec<T> b) {                                         \
    return {_mm512_maskz_max_##P(static_cast<MASK>(-1), a.v, b.v)};                                \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> min_or_second(Vec<T> a, Vec<T> b) {                                         \
    return {_mm512_maskz_min_##P(static_cast<MASK>(-1), a.v, b.v)};                                \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> sqrt(Vec<T> x) {                                                            \
    return {_mm512_maskz_sqrt_##P(static_cast<MASK>(-1), x.v)};                                    \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> round(Vec<T> x) {                                                           \
    return {_mm512_maskz_roundscale_##P(static_cast<MASK>(-1), x.v,                                \
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};           \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> ldexp_(Vec<T> x, Vec<T> n) {                                                \
    return {_mm512_maskz_scalef_##P(static_cast<MASK>(-1), x.v, n.v)};                             \
  }                                                                                                \
  PYDIFF_INLINE Mask<T> lt(Vec<T> a, Vec<T> b) {                                                   \
    return {_mm512_cmp_##P##_mask(a.v, b.v, _CMP_LT_OQ)};                                          \
  }                                                                                                \
  PYDIFF_INLINE Mask<T> le(Vec<T> a, Vec<T> b) {                                                   \
    return {_mm512_cmp_##P##_mask(a.v, b.v, _CMP_LE_OQ)};                                          \
  }                                                                                                \
  PYDIFF_INLINE Mask<T> eq(Vec<T> a, Vec<T> b) {                                                   \
    return {_mm512_cmp_##P##_mask(a.v, b.v, _CMP_EQ_OQ)};                                          \
  }                                                                                                \
  PYDIFF_INLINE Mask<T> unordered(Vec<T> a, Vec<T> b) {                                            \
    return {_mm512_cmp_##P##_mask(a.v, b.v, _CMP_UNORD_Q)};                                        \
  }                                                                                                \
  PYDIFF_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {static_cast<MASK>(a.m & b.m)}; } \
  PYDIFF_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {static_cast<MASK>(a.m | b.m)}; } \
  PYDIFF_INLINE bool any(Mask<T> a) { return a.m != 0; }                                           \
  PYDIFF_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {                                     \
    return {_mm512_mask_blend_##P(m.m, b.v, a.v)};                                                 \
  }                                                                                                \
  PYDIFF_INLINE Vec<T> bit_and(Vec<T> a, Vec<T> b) { return {_mm512_and_##P(a.v, b.v)}; }          \
  PYDIFF_INLINE Vec<T> bit_or(Vec<T> a, Vec<T> b) { return {_mm512_or_##P(a.v, b.v)}; }            \
  PYDIFF_INLINE Vec<T> bit_xor(Vec<T> a, Vec<T> b) { return {_mm512_xor_##P(a.v, b.v)}; }          \
  template <int bits>                                                                              \
  PYDIFF_INLINE Vec<T> shift_left(Vec<T> x) {                                                      \
    return {_mm512_castsi512_##P(                                                                  \
        _mm512_maskz_slli_##E(static_cast<MASK>(-1), _mm512_cast##P##_si512(x.v), bits))};         \
  }                                                                                                \
  template <int bits>                                                                              \
  PYDIFF_INLINE Vec<T> shift_right(Vec<T> x) {                                                     \
    return {_mm512_castsi512_##P(                                                                  \
        _mm512_maskz_srli_##E(static_cast<MASK>(-1), _mm512_cast##P##_si512(x.v), bits))};         \
  }

PYDIFF_V4(float, 16, __m512, __mmask16, ps, epi32)
PYDIFF_V4(double, 8, __m512d, __mmask8, pd, epi64)
#undef PYDIFF_V4

PYDIFF_INLINE Vec<float> lookup8(const uint32_t (&table)[8], Vec<float> i) {
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table));
  return {_mm512_castsi512_ps(_mm512_maskz_permutexvar_epi32(
      static_cast<__mmask16>(-1), _mm512_castps_si512(i.v),
      _mm512_maskz_broadcast_i32x8(static_cast<__mmask16>(-1), all)))};
}
PYDIFF_INLINE Vec<double> lookup8(const uint64_t (&table)[8], Vec<double> i) {
  const __m512i all = _mm512_loadu_si512(table);
  return {_mm512_castsi512_pd(
      _mm512_maskz_permutexvar_epi64(static_cast<__mmask8>(-1), _mm512_castpd_si512(i.v), all))};
}

// a0 b0 a1 b1 ...: the first half of these in low, the second in high
PYDIFF_INLINE void zip(Vec<float> a, Vec<float> b, Vec<float>* low, Vec<float>* high) {
  const __m512i first = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  low->v = _mm512_permutex2var_ps(a.v, first, b.v);
  high->v = _mm512_permutex2var_ps(a.v, second, b.v);
}
PYDIFF_INLINE void zip(Vec<double> a, Vec<double> b, Vec<double>* low, Vec<double>* high) {
  const __m512i first = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
  const __m512i second = _mm512_add_epi64(first, _mm512_set1_epi64(4));
  low->v = _mm512_permutex2var_pd(a.v, first, b.v);
  high->v = _mm512_permutex2var_pd(a.v, second, b.v);
}

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
