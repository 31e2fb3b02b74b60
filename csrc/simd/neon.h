// aarch64: Advanced SIMD. 4 floats or 2 doubles, with fused fma: the bits of v3 and v4.
#pragma once
#include <arm_neon.h>

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

alignas(32) constexpr uint32_t kOnes[8] = {~0u, ~0u, ~0u, ~0u, 0, 0, 0, 0};

PYDIFF_INLINE bool any_bit(uint32x4_t m) { return vmaxvq_u32(m) != 0; }
PYDIFF_INLINE bool any_bit(uint64x2_t m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }

// T, lanes, register, mask register, 32-bit words in T, intrinsics' suffixes for T and its integer
#define PYDIFF_NEON(T, WIDTH, REG, MASK, WORDS, F, U)                                            \
  template <>                                                                                    \
  struct Vec<T> {                                                                                \
    static constexpr int width = WIDTH;                                                          \
    REG v;                                                                                       \
  };                                                                                             \
  template <>                                                                                    \
  struct Mask<T> {                                                                               \
    MASK m;                                                                                      \
  };                                                                                             \
  template <>                                                                                    \
  PYDIFF_INLINE Vec<T> set1<T>(T x) {                                                            \
    return {vdupq_n_##F(x)};                                                                     \
  }                                                                                              \
  PYDIFF_INLINE Vec<T> load(const T* p) { return {vld1q_##F(p)}; }                               \
  PYDIFF_INLINE Vec<T> load_n(const T* p, int n) {                                               \
    T lanes[WIDTH] = {};                                                                         \
    for (int i = 0; i < n && i < WIDTH; ++i) lanes[i] = p[i];                                    \
    return load(lanes);                                                                          \
  }                                                                                              \
  PYDIFF_INLINE void store(T* p, Vec<T> x) { vst1q_##F(p, x.v); }                                \
  PYDIFF_INLINE void store_n(T* p, Vec<T> x, int n) {                                            \
    T lanes[WIDTH];                                                                              \
    store(lanes, x);                                                                             \
    for (int i = 0; i < n && i < WIDTH; ++i) p[i] = lanes[i];                                    \
  }                                                                                              \
  PYDIFF_INLINE Vec<T> bit_and(Vec<T> a, Vec<T> b) {                                             \
    return {vreinterpretq_##F##_##U(                                                             \
        vandq_##U(vreinterpretq_##U##_##F(a.v), vreinterpretq_##U##_##F(b.v)))};                 \
  }                                                                                              \
  PYDIFF_INLINE Vec<T> bit_or(Vec<T> a, Vec<T> b) {                                              \
    return {vreinterpretq_##F##_##U(                                                             \
        vorrq_##U(vreinterpretq_##U##_##F(a.v), vreinterpretq_##U##_##F(b.v)))};                 \
  }                                                                                              \
  PYDIFF_INLINE Vec<T> bit_xor(Vec<T> a, Vec<T> b) {                                             \
    return {vreinterpretq_##F##_##U(                                                             \
        veorq_##U(vreinterpretq_##U##_##F(a.v), vreinterpretq_##U##_##F(b.v)))};                 \
  }                                                                                              \
  PYDIFF_INLINE Vec<T> keep_n(Vec<T> x, int n) {                                                 \
    return bit_and(x, {vreinterpretq_##F##_u32(vld1q_u32(kOnes + 4 - n * WORDS))});              \
  }                                                                                              \
  PYDIFF_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) { return {vaddq_##F(a.v, b.v)}; }           \
  PYDIFF_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) { return {vsubq_##F(a.v, b.v)}; }           \
  PYDIFF_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) { return {vmulq_##F(a.v, b.v)}; }           \
  PYDIFF_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) { return {vdivq_##F(a.v, b.v)}; }           \
  PYDIFF_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return {vfmaq_##F(c.v, a.v, b.v)}; }  \
  PYDIFF_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) { return {vfmsq_##F(c.v, a.v, b.v)}; } \
  PYDIFF_INLINE Vec<T> max_or_second(Vec<T> a, Vec<T> b) { return {vmaxq_##F(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> min_or_second(Vec<T> a, Vec<T> b) { return {vminq_##F(a.v, b.v)}; }       \
  PYDIFF_INLINE Vec<T> sqrt(Vec<T> x) { return {vsqrtq_##F(x.v)}; }                              \
  PYDIFF_INLINE Vec<T> round(Vec<T> x) { return {vrndnq_##F(x.v)}; }                             \
  PYDIFF_INLINE Mask<T> lt(Vec<T> a, Vec<T> b) { return {vcltq_##F(a.v, b.v)}; }                 \
  PYDIFF_INLINE Mask<T> le(Vec<T> a, Vec<T> b) { return {vcleq_##F(a.v, b.v)}; }                 \
  PYDIFF_INLINE Mask<T> eq(Vec<T> a, Vec<T> b) { return {vceqq_##F(a.v, b.v)}; }                 \
  PYDIFF_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {vandq_##U(a.m, b.m)}; }        \
  PYDIFF_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {vorrq_##U(a.m, b.m)}; }        \
  PYDIFF_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {                                   \
    return {vbslq_##F(m.m, a.v, b.v)};                                                           \
  }                                                                                              \
  PYDIFF_INLINE Mask<T> unordered(Vec<T> a, Vec<T> b) {                                          \
    const MASK numbers = vandq_##U(vceqq_##F(a.v, a.v), vceqq_##F(b.v, b.v));                    \
    return {~numbers};                                                                           \
  }                                                                                              \
  PYDIFF_INLINE bool any(Mask<T> a) { return any_bit(a.m); }                                     \
  template <int bits>                                                                            \
  PYDIFF_INLINE Vec<T> shift_left(Vec<T> x) {                                                    \
    return {vreinterpretq_##F##_##U(vshlq_n_##U(vreinterpretq_##U##_##F(x.v), bits))};           \
  }                                                                                              \
  template <int bits>                                                                            \
  PYDIFF_INLINE Vec<T> shift_right(Vec<T> x) {                                                   \
    return {vreinterpretq_##F##_##U(vshrq_n_##U(vreinterpretq_##U##_##F(x.v), bits))};           \
  }

PYDIFF_NEON(float, 4, float32x4_t, uint32x4_t, 1, f32, u32)
PYDIFF_NEON(double, 2, float64x2_t, uint64x2_t, 2, f64, u64)
#undef PYDIFF_NEON

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
