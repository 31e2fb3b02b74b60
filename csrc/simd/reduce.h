// Reductions whose bits do not depend on the instruction set: element i always belongs to lane
// i mod kLanes of a virtual vector of 64 bytes, and lanes are combined in one fixed tree.
#pragma once
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

template <class T>
constexpr int kLanes = 64 / static_cast<int>(sizeof(T));  // 16 floats or 8 doubles

// A virtual vector: kLanes<T> accumulators.
template <class T>
struct Lanes {
  static constexpr int count = kLanes<T> / Vec<T>::width;
  Vec<T> v[count];
};

template <class T>
PYDIFF_INLINE Lanes<T> lanes(T x) {
  Lanes<T> r;
  for (int i = 0; i < Lanes<T>::count; ++i) r.v[i] = set1<T>(x);
  return r;
}

// Lane i meets lane i + half, then the halves are halved again.
template <class T>
PYDIFF_INLINE T reduce_add(const Lanes<T>& x) {
  T lane[kLanes<T>];
  for (int i = 0; i < Lanes<T>::count; ++i) store(lane + i * Vec<T>::width, x.v[i]);
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

template <class T>
PYDIFF_INLINE T reduce_max(const Lanes<T>& x) {
  T lane[kLanes<T>];
  for (int i = 0; i < Lanes<T>::count; ++i) store(lane + i * Vec<T>::width, x.v[i]);
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      lane[i] = lane[i] > lane[i + half] || lane[i] != lane[i] ? lane[i] : lane[i + half];
  return lane[0];
}

// Sum over i < n of term(i, where), which gives the Vec of terms i, i + 1, ...: `where` is All, or
// First for the last ones, whose further lanes are dropped here. Four virtual vectors at a time.
template <class T, class F>
PYDIFF_INLINE T sum_terms(int64_t n, const F& term) {
  constexpr int width = Vec<T>::width, count = Lanes<T>::count;
  Lanes<T> acc = lanes<T>(0);
  int64_t i = 0;
  if (n >= 4 * kLanes<T>) {
    Lanes<T> b = acc, c = acc, d = acc;
    for (; i + 4 * kLanes<T> <= n; i += 4 * kLanes<T>) {
      for (int j = 0; j < count; ++j) {
        const int64_t at = i + j * width;
        acc.v[j] = acc.v[j] + term(at, All{});
        b.v[j] = b.v[j] + term(at + kLanes<T>, All{});
        c.v[j] = c.v[j] + term(at + 2 * kLanes<T>, All{});
        d.v[j] = d.v[j] + term(at + 3 * kLanes<T>, All{});
      }
    }
    for (int j = 0; j < count; ++j) acc.v[j] = (acc.v[j] + b.v[j]) + (c.v[j] + d.v[j]);
  }
  for (; i + kLanes<T> <= n; i += kLanes<T>)
    for (int j = 0; j < count; ++j) acc.v[j] = acc.v[j] + term(i + j * width, All{});
  for (int j = 0; j < count; ++j, i += width) {
    const int left = static_cast<int>(n - i);
    if (left >= width)
      acc.v[j] = acc.v[j] + term(i, All{});
    else if (left > 0)
      acc.v[j] = acc.v[j] + keep_n(term(i, First{left}), left);
  }
  return reduce_add(acc);
}

// Maximum over i < n, n >= 1, of the same terms; NaN if any is NaN. Adding 0 makes a zero positive,
// which would otherwise depend on the order.
template <class T, class F>
PYDIFF_INLINE T max_terms(int64_t n, const F& term) {
  constexpr int width = Vec<T>::width, count = Lanes<T>::count;
  Lanes<T> acc = lanes<T>(T(-__builtin_inf()));
  int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>)
    for (int j = 0; j < count; ++j) acc.v[j] = max(term(i + j * width, All{}), acc.v[j]);
  for (; i + width <= n; i += width) acc.v[0] = max(term(i, All{}), acc.v[0]);
  T best = reduce_max(acc);
  if (i < n) {
    T last[width];
    store(last, term(i, First{static_cast<int>(n - i)}));
    for (int64_t j = 0; j < n - i; ++j) best = best > last[j] || best != best ? best : last[j];
  }
  return best + T(0);
}

}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
