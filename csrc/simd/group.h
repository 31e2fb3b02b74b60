// Some vectors worked on side by side. A function of many dependent steps takes twice as long on
// one vector at a time, since no processor looks far enough ahead to begin the next: measured on
// Zen 5, 2^x of 16 floats takes 7.0 cycles alone and 4.0 in groups of four.
//
// A Group mixes with Vecs, which then serve all of its vectors; its lanes have the bits that a
// Vec's would have.
#pragma once
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

template <class T, int N>
struct Group {
  Vec<T> v[N];
};

// Where a Group of N vectors lies in memory, beside All and First
template <int N>
struct Wide {};

constexpr int kGroup = 4;

template <class X>
struct LaneOf;
template <class T>
struct LaneOf<Vec<T>> {
  using type = T;
};
template <class T, int N>
struct LaneOf<Group<T, N>> {
  using type = T;
};
template <class X>
using Lane = typename LaneOf<X>::type;

template <class T>
constexpr int vectors_of(const Vec<T>&) {
  return 1;
}
template <class T, int N>
constexpr int vectors_of(const Group<T, N>&) {
  return N;
}

template <class T>
PYDIFF_INLINE Vec<T> pick(Vec<T> x, int) {
  return x;
}
template <class T, int N>
PYDIFF_INLINE Vec<T> pick(const Group<T, N>& x, int i) {
  return x.v[i];
}

template <class T, int N, class F>
PYDIFF_INLINE Group<T, N> make_group(const F& f) {
  Group<T, N> y;
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) y.v[i] = f(i);
  return y;
}

template <class T, int N, class B>
PYDIFF_INLINE Group<T, N> operator+(const Group<T, N>& a, const B& b) {
  return make_group<T, N>([&](int i) { return a.v[i] + pick(b, i); });
}
template <class T, int N, class B>
PYDIFF_INLINE Group<T, N> operator-(const Group<T, N>& a, const B& b) {
  return make_group<T, N>([&](int i) { return a.v[i] - pick(b, i); });
}
template <class T, int N, class B>
PYDIFF_INLINE Group<T, N> operator*(const Group<T, N>& a, const B& b) {
  return make_group<T, N>([&](int i) { return a.v[i] * pick(b, i); });
}
template <class T, int N, class B>
PYDIFF_INLINE Group<T, N> operator/(const Group<T, N>& a, const B& b) {
  return make_group<T, N>([&](int i) { return a.v[i] / pick(b, i); });
}
template <class T, int N>
PYDIFF_INLINE Group<T, N> operator/(Vec<T> a, const Group<T, N>& b) {
  return make_group<T, N>([&](int i) { return a / b.v[i]; });
}
template <class T, int N>
PYDIFF_INLINE Group<T, N> operator-(Vec<T> a, const Group<T, N>& b) {
  return make_group<T, N>([&](int i) { return a - b.v[i]; });
}
template <class T, int N>
PYDIFF_INLINE Group<T, N> operator-(const Group<T, N>& a) {
  return make_group<T, N>([&](int i) { return -a.v[i]; });
}
template <class T, int N, class B, class C>
PYDIFF_INLINE Group<T, N> fma(const Group<T, N>& a, const B& b, const C& c) {
  return make_group<T, N>([&](int i) { return fma(a.v[i], pick(b, i), pick(c, i)); });
}
template <class T, int N, class B, class C>
PYDIFF_INLINE Group<T, N> fnma(const Group<T, N>& a, const B& b, const C& c) {
  return make_group<T, N>([&](int i) { return fnma(a.v[i], pick(b, i), pick(c, i)); });
}
template <class T, int N>
PYDIFF_INLINE Group<T, N> max_or_second(Vec<T> a, const Group<T, N>& b) {
  return make_group<T, N>([&](int i) { return max_or_second(a, b.v[i]); });
}
template <class T, int N>
PYDIFF_INLINE Group<T, N> min_or_second(Vec<T> a, const Group<T, N>& b) {
  return make_group<T, N>([&](int i) { return min_or_second(a, b.v[i]); });
}
template <class T, int N>
PYDIFF_INLINE Group<T, N> max_or_second(const Group<T, N>& a, const Group<T, N>& b) {
  return make_group<T, N>([&](int i) { return max_or_second(a.v[i], b.v[i]); });
}
template <class T, int N>
PYDIFF_INLINE Group<T, N> bit_xor(const Group<T, N>& a, const Group<T, N>& b) {
  return make_group<T, N>([&](int i) { return bit_xor(a.v[i], b.v[i]); });
}
template <class Table, class T, int N>
PYDIFF_INLINE Group<T, N> lookup8(const Table& table, const Group<T, N>& at) {
  return make_group<T, N>([&](int i) { return lookup8(table, at.v[i]); });
}
template <int bits, class T, int N>
PYDIFF_INLINE Group<T, N> shift_left(const Group<T, N>& a) {
  return make_group<T, N>([&](int i) { return shift_left<bits>(a.v[i]); });
}

template <class T, int N>
PYDIFF_INLINE Group<T, N> load(const T* p, Wide<N>) {
  return make_group<T, N>([&](int i) { return load(p + i * Vec<T>::width); });
}
template <class T, int N>
PYDIFF_INLINE void store(T* p, const Group<T, N>& x, Wide<N>) {
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) store(p + i * Vec<T>::width, x.v[i]);
}

// for_lanes that begins with groups: body(i, lanes) with lanes Wide, All or First
template <class T, class F>
PYDIFF_INLINE void for_groups(int64_t n, const F& body) {
  constexpr int step = kGroup * Vec<T>::width;
  int64_t i = 0;
  for (; i + step <= n; i += step) body(i, Wide<kGroup>{});
  for_lanes<T>(n - i, [&](int64_t rest, auto at) { body(i + rest, at); });
}

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
