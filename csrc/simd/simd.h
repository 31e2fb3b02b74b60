// The vocabulary that kernels are written in, for the instruction set of this translation unit.
// PYDIFF_ISA (v2, v3, v4, neon or scalar) comes from the build; everything has internal linkage
// inside the namespace of that set, so the linker can never merge code built with other flags.
#pragma once
#include <cstdint>
#include <cstring>

#ifndef PYDIFF_ISA
#error "kernel files are compiled once per instruction set: see setup.py"
#endif
#define PYDIFF_ISA_NAMESPACE PYDIFF_ISA
#define PYDIFF_INLINE inline __attribute__((always_inline))
// For a function around a hot loop: its lambdas are inlined, so that constants stay in registers.
#define PYDIFF_FLATTEN __attribute__((flatten))

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// Sizes; std::min and its like may not be used in files built for one instruction set.
PYDIFF_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
PYDIFF_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
PYDIFF_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
struct Vec;  // `width` lanes of T in one register
template <class T>
struct Mask;  // one truth value per lane

template <class T>
Vec<T> set1(T x);  // every lane = x

// Where a Vec lies in memory: every lane, or the first n of them (0 < n < width).
struct All {};
struct First {
  int n;
};

// Bit layout of T: width of the fraction, exponent bias, masks as values of T.
template <class T>
struct Bits;
template <>
struct Bits<float> {
  using Int = uint32_t;
  static constexpr int fraction = 23;
  static constexpr Int bias = 127;
};
template <>
struct Bits<double> {
  using Int = uint64_t;
  static constexpr int fraction = 52;
  static constexpr Int bias = 1023;
};

template <class T>
PYDIFF_INLINE T from_bits(typename Bits<T>::Int bits) {
  T x;
  std::memcpy(&x, &bits, sizeof(T));
  return x;
}
template <class T>
PYDIFF_INLINE typename Bits<T>::Int to_bits(T x) {
  typename Bits<T>::Int bits;
  std::memcpy(&bits, &x, sizeof(T));
  return bits;
}

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE

#define PYDIFF_TEXT_(x) #x
#define PYDIFF_TEXT(x) PYDIFF_TEXT_(x)
#include PYDIFF_TEXT(PYDIFF_ISA.h)  // v2.h, v3.h, ... beside this file

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

template <class T>
PYDIFF_INLINE Vec<T> zero() {
  return set1<T>(0);
}

template <class T>
PYDIFF_INLINE Vec<T> load(const T* p, All) {
  return load(p);
}
template <class T>
PYDIFF_INLINE Vec<T> load(const T* p, First first) {
  return load_n(p, first.n);
}
template <class T>
PYDIFF_INLINE void store(T* p, Vec<T> x, All) {
  store(p, x);
}
template <class T>
PYDIFF_INLINE void store(T* p, Vec<T> x, First first) {
  store_n(p, x, first.n);
}

// body(i, lanes) for i = 0, width, 2 width, ...: lanes is All, and First for a shorter last one.
template <class T, class F>
PYDIFF_INLINE void for_lanes(int64_t n, const F& body) {
  constexpr int width = Vec<T>::width;
  int64_t i = 0;
  for (; i + width <= n; i += width) body(i, All{});
  if (i < n) body(i, First{static_cast<int>(n - i)});
}

// x (width, width) transposed: as many rounds of zip as width has bits, or through memory
template <class T>
PYDIFF_INLINE void transpose(Vec<T> (&x)[Vec<T>::width]) {
  constexpr int width = Vec<T>::width;
#ifdef PYDIFF_HAS_ZIP
#pragma GCC unroll 4
  for (int round = 1; round < width; round *= 2) {
    Vec<T> y[width];
#pragma GCC unroll 8
    for (int i = 0; i < width / 2; ++i) zip(x[i], x[i + width / 2], y + 2 * i, y + 2 * i + 1);
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) x[i] = y[i];
  }
#else
  T from[width][width], to[width][width];
  for (int i = 0; i < width; ++i) store(from[i], x[i]);
  for (int i = 0; i < width; ++i)
    for (int j = 0; j < width; ++j) to[j][i] = from[i][j];
  for (int i = 0; i < width; ++i) x[i] = load(to[i]);
#endif
}

// table[i mod 8] for the whole number i in the low bits of each lane. Sets that can look up in a
// register have functions of their own, which the compiler prefers to this.
template <class T>
PYDIFF_INLINE Vec<T> lookup8(const typename Bits<T>::Int (&table)[8], Vec<T> i) {
  T lanes[Vec<T>::width];
  store(lanes, i);
  for (T& lane : lanes) lane = from_bits<T>(table[to_bits(lane) % 8]);
  return load(lanes);
}

template <class T>
PYDIFF_INLINE Vec<T> abs(Vec<T> x) {
  return bit_and(x, set1<T>(from_bits<T>(static_cast<typename Bits<T>::Int>(-1) >> 1)));
}
template <class T>
PYDIFF_INLINE Vec<T> operator-(Vec<T> x) {
  return bit_xor(x, set1<T>(T(-0.0)));
}
template <class T>
PYDIFF_INLINE Vec<T> copysign(Vec<T> magnitude, Vec<T> sign) {
  return bit_or(abs(magnitude), bit_and(sign, set1<T>(T(-0.0))));
}
template <class T>
PYDIFF_INLINE Mask<T> is_nan(Vec<T> x) {
  return unordered(x, x);
}

// NaN in either operand gives NaN, as in NumPy.
template <class T>
PYDIFF_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  return select(is_nan(a), a, max_or_second(a, b));
}
template <class T>
PYDIFF_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  return select(is_nan(a), a, min_or_second(a, b));
}

// 2^n for an integral n in the normal range: adding 1.5 * 2^fraction leaves n + bias in the low
// bits, which are then shifted into the exponent.
template <class T>
PYDIFF_INLINE Vec<T> pow2(Vec<T> n) {
  constexpr T magic = T(1.5) * T(int64_t{1} << Bits<T>::fraction) + T(Bits<T>::bias);
  return shift_left<Bits<T>::fraction>(n + set1<T>(magic));
}

// x * 2^n, rounded once, for an integral |n| up to twice the normal range; v4 has an instruction.
#ifndef PYDIFF_HAS_LDEXP
template <class T>
PYDIFF_INLINE Vec<T> ldexp_(Vec<T> x, Vec<T> n) {
  const Vec<T> half = round(n * set1<T>(T(0.5)));
  return x * pow2(half) * pow2(n - half);
}
#endif

// x = m * 2^e with m in [sqrt(1/2), sqrt(2)) for a positive, normal, finite x.
template <class T>
PYDIFF_INLINE Vec<T> frexp_(Vec<T> x, Vec<T>* e) {
  using Int = typename Bits<T>::Int;
  constexpr Int fraction_mask = (Int{1} << Bits<T>::fraction) - 1;
  constexpr T two_p = T(int64_t{1} << Bits<T>::fraction);
  const Vec<T> fraction = bit_and(x, set1<T>(from_bits<T>(fraction_mask)));
  const Vec<T> m = bit_or(fraction, set1<T>(T(1)));
  const Vec<T> biased = bit_or(shift_right<Bits<T>::fraction>(x), set1<T>(two_p));
  const Vec<T> exponent = biased - set1<T>(two_p + T(Bits<T>::bias));
  const Mask<T> high = le(set1<T>(T(1.4142135623730951)), m);
  *e = select(high, exponent + set1<T>(T(1)), exponent);
  return select(high, m * set1<T>(T(0.5)), m);
}

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
