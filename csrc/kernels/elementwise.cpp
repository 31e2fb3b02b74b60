// y = f(x), y = f(a, b) with broadcasting, and the gradients of the activations.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/math.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int64_t kGrain = 32768;  // elements per task: some microseconds

// body(begin, count) over [0, n) in tasks of kGrain elements
template <class F>
void for_chunks(int64_t n, const F& body) {
  parallel_for(ceil_div(n, kGrain), [&](int64_t task, int) {
    const int64_t begin = task * kGrain;
    body(begin, least(kGrain, n - begin));
  });
}

// Functions of one vector, some of a group of vectors too
template <class F>
constexpr bool kTakesGroups = false;

template <class T, class F, class Body>
PYDIFF_INLINE void for_vectors(int64_t n, const Body& body) {
  if constexpr (kTakesGroups<F>)
    for_groups<T>(n, body);
  else
    for_lanes<T>(n, body);
}

// ---- one argument: x (n,) -> y (n,)

template <class T, class F>
PYDIFF_FLATTEN void map_run(int64_t n, const T* x, T* y, const F& f) {
  for_vectors<T, F>(n, [&](int64_t i, auto at) { store(y + i, f(load(x + i, at)), at); });
}
template <class T, class F>
void map(const UnaryArgs<T>& args, const F& f) {
  for_chunks(args.n, [&](int64_t begin, int64_t count) {
    map_run(count, args.x + begin, args.y + begin, f);
  });
}

struct Relu {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> x) const {
    return max(x, zero<T>());
  }
};
struct Sigmoid {
  template <class X>
  PYDIFF_INLINE X operator()(const X& x) const {
    return sigmoid(x);
  }
};
struct Silu {
  template <class X>
  PYDIFF_INLINE X operator()(const X& x) const {
    return silu(x);
  }
};
template <>
constexpr bool kTakesGroups<Sigmoid> = true;
template <>
constexpr bool kTakesGroups<Silu> = true;
// x Phi(x) (Hendrycks & Gimpel 2016)
struct Gelu {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> x) const {
    Vec<T> density;
    return x * normal_cdf(x, &density);
  }
};

// 2 sqrt(2/pi) (x + 0.044715 x^3) and its derivative. sigmoid(inner) = (1 + tanh(inner / 2)) / 2.
// Beyond |x| = 40 the sigmoid is 0 or 1 in either precision; the clamp keeps products finite.
template <class T>
PYDIFF_INLINE Vec<T> gelu_tanh_clamp(Vec<T> x) {
  return clamp(x, T(-40), T(40));
}
template <class T>
PYDIFF_INLINE Vec<T> gelu_tanh_inner(Vec<T> x, Vec<T>* slope) {
  constexpr T scale = T(1.59576912160573071176), cubic = T(0.044715);
  const Vec<T> square = x * x;
  *slope = set1<T>(scale) * fma(square, set1<T>(3 * cubic), set1<T>(T(1)));
  return set1<T>(scale) * x * fma(square, set1<T>(cubic), set1<T>(T(1)));
}
struct GeluTanh {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> x) const {
    Vec<T> slope;
    return x * sigmoid(gelu_tanh_inner(gelu_tanh_clamp(x), &slope));
  }
};

// ---- gradients: dy (n,), saved (n,) -> dx (n,)

template <class T, class F>
PYDIFF_FLATTEN void gradient_run(int64_t n, const T* dy, const T* saved, T* dx, const F& f) {
  for_vectors<T, F>(
      n, [&](int64_t i, auto at) { store(dx + i, f(load(dy + i, at), load(saved + i, at)), at); });
}
template <class T, class F>
void map_gradient(const BinaryArgs<T>& args, const F& f) {
  int64_t n = 1;
  for (int i = 0; i < args.ndim; ++i) n *= args.shape[i];
  for_chunks(n, [&](int64_t begin, int64_t count) {
    gradient_run(count, args.a + begin, args.b + begin, args.y + begin, f);
  });
}

// y = sigmoid(x): dx = dy y (1 - y)
struct SigmoidBackward {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> dy, Vec<T> y) const {
    return dy * y * (set1<T>(T(1)) - y);
  }
};
// y = tanh(x): dx = dy (1 - y^2)
struct TanhBackward {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> dy, Vec<T> y) const {
    return dy * fnma(y, y, set1<T>(T(1)));
  }
};
struct ReluBackward {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> dy, Vec<T> x) const {
    return select(lt(zero<T>(), x), dy, zero<T>());
  }
};
// s = sigmoid(x): dx = dy s (1 + x (1 - s))
struct SiluBackward {
  template <class X>
  PYDIFF_INLINE X operator()(const X& dy, const X& x) const {
    return dy * silu_slope(x);
  }
};
template <>
constexpr bool kTakesGroups<SiluBackward> = true;
// dx = dy (Phi(x) + x phi(x))
struct GeluBackward {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> dy, Vec<T> x) const {
    Vec<T> density;
    const Vec<T> cdf = normal_cdf(x, &density);
    return dy * fma(x, density, cdf);
  }
};
// s = sigmoid(inner(x)): dx = dy s (1 + x (1 - s) inner'(x))
struct GeluTanhBackward {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> dy, Vec<T> x) const {
    Vec<T> slope;
    const Vec<T> u = gelu_tanh_clamp(x), inner = gelu_tanh_inner(u, &slope);
    return dy * gated_slope(u, clamp(inner, -Normal<T>::exp, Normal<T>::exp), slope);
  }
};

// ---- two arguments, broadcast

struct Add {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    return a * b;
  }
};
struct Divide {
  template <class T>
  PYDIFF_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    return a / b;
  }
};

// y (n,) = f(a, b) where a and b step by 1 or stay (step 0)
template <class T, class F>
void binary_run(int64_t n, const T* a, bool a_steps, const T* b, bool b_steps, T* y, const F& f) {
  if (a_steps && b_steps) {
    for_lanes<T>(
        n, [&](int64_t i, auto at) { store(y + i, f(load(a + i, at), load(b + i, at)), at); });
  } else if (a_steps) {
    const Vec<T> right = set1<T>(*b);
    for_lanes<T>(n, [&](int64_t i, auto at) { store(y + i, f(load(a + i, at), right), at); });
  } else {
    const Vec<T> left = set1<T>(*a), right = set1<T>(*b);
    for_lanes<T>(n, [&](int64_t i, auto at) {
      store(y + i, f(left, b_steps ? load(b + i, at) : right), at);
    });
  }
}

// Where row `row` of y begins in an operand with these strides
template <class T>
int64_t row_offset(const BinaryArgs<T>& args, const int64_t* strides, int64_t row) {
  int64_t offset = 0;
  for (int axis = args.ndim - 2; axis >= 0; --axis) {
    offset += row % args.shape[axis] * strides[axis];
    row /= args.shape[axis];
  }
  return offset;
}

// Rows are the last axis, whose strides are 0 or 1; a task is some rows or a part of one. Along the
// axis before it, rows are found by a step instead of divisions.
template <class T, class F>
void broadcast(const BinaryArgs<T>& args, const F& f) {
  const int last = args.ndim - 1;
  const int64_t n = args.shape[last];
  int64_t rows = 1;
  for (int i = 0; i < last; ++i) rows *= args.shape[i];
  const int64_t parts = ceil_div(n, kGrain), part = parts > 1 ? kGrain : n;
  const int64_t rows_per_task = parts > 1 ? 1 : most(1, kGrain / n);
  const bool a_steps = args.a_strides[last] != 0, b_steps = args.b_strides[last] != 0;
  const int64_t plane = last > 0 ? args.shape[last - 1] : 1;
  const int64_t a_next = last > 0 ? args.a_strides[last - 1] : 0;
  const int64_t b_next = last > 0 ? args.b_strides[last - 1] : 0;
  parallel_for(ceil_div(rows, rows_per_task) * parts, [&](int64_t task, int) {
    const int64_t begin = task % parts * part, count = least(part, n - begin);
    const int64_t first = task / parts * rows_per_task, end = least(first + rows_per_task, rows);
    for (int64_t row = first; row < end;) {
      const int64_t run = least(end - row, plane - row % plane);
      const T* a = args.a + row_offset(args, args.a_strides, row) + (a_steps ? begin : 0);
      const T* b = args.b + row_offset(args, args.b_strides, row) + (b_steps ? begin : 0);
      for (const int64_t stop = row + run; row < stop; ++row, a += a_next, b += b_next)
        binary_run(count, a, a_steps, b, b_steps, args.y + row * n + begin, f);
    }
  });
}

}  // namespace

#define PYDIFF_UNARY(name, f)                                      \
  void name(const UnaryArgs<float>& args) { map<float>(args, f); } \
  void name(const UnaryArgs<double>& args) { map<double>(args, f); }
#define PYDIFF_GRADIENT(name, f)                                             \
  void name(const BinaryArgs<float>& args) { map_gradient<float>(args, f); } \
  void name(const BinaryArgs<double>& args) { map_gradient<double>(args, f); }
#define PYDIFF_BINARY(name, f)                                            \
  void name(const BinaryArgs<float>& args) { broadcast<float>(args, f); } \
  void name(const BinaryArgs<double>& args) { broadcast<double>(args, f); }

PYDIFF_UNARY(exp, [](auto x) { return exp(x); })
PYDIFF_UNARY(log, [](auto x) { return log(x); })
PYDIFF_UNARY(sqrt, [](auto x) { return sqrt(x); })
PYDIFF_UNARY(sigmoid, Sigmoid())
PYDIFF_UNARY(tanh, [](auto x) { return tanh(x); })
PYDIFF_UNARY(relu, Relu())
PYDIFF_UNARY(silu, Silu())
PYDIFF_UNARY(gelu, Gelu())
PYDIFF_UNARY(gelu_tanh, GeluTanh())

PYDIFF_GRADIENT(sigmoid_backward, SigmoidBackward())
PYDIFF_GRADIENT(tanh_backward, TanhBackward())
PYDIFF_GRADIENT(relu_backward, ReluBackward())
PYDIFF_GRADIENT(silu_backward, SiluBackward())
PYDIFF_GRADIENT(gelu_backward, GeluBackward())
PYDIFF_GRADIENT(gelu_tanh_backward, GeluTanhBackward())

PYDIFF_BINARY(add, Add())
PYDIFF_BINARY(subtract, Subtract())
PYDIFF_BINARY(multiply, Multiply())
PYDIFF_BINARY(divide, Divide())

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
