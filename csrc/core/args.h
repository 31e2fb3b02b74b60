// Arguments of the kernels: plain structs, checked by the bindings, trusted by the kernels.
// Arrays are C-contiguous unless a struct carries strides; strides count elements.
// Every kernel writes its outputs (`=`), never adds to them, unless its comment says `+=`.
// Aliasing of an output with an input of the same shape is allowed for elementwise kernels only.
#pragma once
#include <cstdint>

namespace pydiff {

constexpr int kMaxDims = 8;

enum Activation : int { kNone = 0, kSilu = 1 };

// y[n] = f(x[n])
template <class T>
struct UnaryArgs {
  const T* x;
  T* y;
  int64_t n;
};

// y[shape] contiguous; a and b broadcast by zero strides.
template <class T>
struct BinaryArgs {
  const T* a;
  const T* b;
  T* y;
  int ndim;
  int64_t shape[kMaxDims];
  int64_t a_strides[kMaxDims];
  int64_t b_strides[kMaxDims];
};

// x (outer, n, inner) -> y (outer, inner), reduced over n; y = scale * sum for `sum` (scale 1/n
// gives the mean), `max` ignores scale. n == 0 gives 0 for sum; the bindings refuse it for max.
template <class T>
struct ReduceArgs {
  const T* x;
  T* y;
  int64_t outer, n, inner;
  T scale;
};

// dx (outer, n, inner) = dy (outer, inner) where x == y, shared equally between ties.
template <class T>
struct ReduceBackwardArgs {
  const T* dy;
  const T* x;
  const T* y;
  T* dx;
  int64_t outer, n, inner;
};

// y (1,) = scale * sum (a - b)^2
template <class T>
struct BinaryReduceArgs {
  const T* a;
  const T* b;
  T* y;
  int64_t n;
  T scale;
};

// y (rows, n) = f(x (rows, n)) along the last axis
template <class T>
struct RowArgs {
  const T* x;
  T* y;
  int64_t rows, n;
};

// dx (rows, n) from dy (rows, n) and the saved output y (rows, n)
template <class T>
struct RowBackwardArgs {
  const T* dy;
  const T* y;
  T* dx;
  int64_t rows, n;
};

// c[i] (m, n) = act(scale * (op(a[i]) op(b[i]) + bias + residual[i])) for i in batch. op(a) is
// (m, k): a is stored (m, k), or (k, m) where transpose_a; op(b) is (k, n): b is stored (k, n), or
// (n, k) where transpose_b. a_batch, b_batch: elements from one matrix to the next, 0 to share one.
// lda, ldc, ld_residual: from one stored row to the next; c and residual are contiguous where
// batch > 1. bias (n,), residual (m, n): each may be null. packed: b, if only one, as conv2d_pack
// leaves a 1x1 kernel for kDirect, or null.
template <class T>
struct MatmulArgs {
  const T* a;
  const T* b;
  const T* bias;
  T* c;
  const T* packed;
  const T* residual;
  int64_t batch, m, n, k;
  int64_t a_batch, b_batch;
  int64_t lda, ldc, ld_residual;
  T scale;
  Activation act;
  bool transpose_a, transpose_b;
};

// How a convolution is computed: as an implicit matrix product, or by F(2x2, 3x3) or F(4x4, 3x3).
enum ConvAlgorithm : int { kDirect = 0, kWinograd2 = 2, kWinograd4 = 4 };

// x (n, h, w, ci), weight (kh, kw, ci, co), bias (co,) or null, y (n, ho, wo, co).
// conv2d reads x, weight, bias and writes y = scale * (x * weight + bias + add + residual) with add
// (n, co) and residual (n, ho, wo, co), each may be null; backward_data reads y (= dy) and weight
// and writes x; backward_weight reads x and y (= dy) and writes weight. Pointers are non-const for
// that reason. packed: what conv2d_pack makes of weight for `algorithm`, or null: made on the way.
// ldx, ldy, ld_add, ld_residual: elements from one pixel (of add: image) to the next.
template <class T>
struct Conv2dArgs {
  T* x;
  T* weight;
  T* bias;
  T* y;
  const T* packed;
  const T* add;
  const T* residual;
  int64_t n, h, w, ci, co, kh, kw, ho, wo;
  int64_t stride_h, stride_w, pad_top, pad_left;
  int64_t ldx, ldy, ld_add, ld_residual;
  T scale;
  ConvAlgorithm algorithm;
};

// packed (conv_packed_size,) from weight (kh, kw, ci, co). reversed: of the convolution that takes
// y back to x, whose taps run backwards and whose channels are swapped (Winograd only).
template <class T>
struct ConvPackArgs {
  const T* weight;
  T* packed;
  int64_t kh, kw, ci, co;
  ConvAlgorithm algorithm;
  bool reversed;
};

// x, y (n, s, c) with s = h*w positions, rows of c elements ldx and ldy apart; weight, bias (c,) or
// null; mean, rstd (n, groups), each null where nobody wants it.
// y = act((x - mean) * rstd * weight + bias)
template <class T>
struct GroupNormArgs {
  const T* x;
  const T* weight;
  const T* bias;
  T* y;
  T* mean;
  T* rstd;
  int64_t n, s, c, groups, ldx, ldy;
  double eps;
  Activation act;
};

// dx (n, s, c); dweight, dbias (c,), null where weight is null.
template <class T>
struct GroupNormBackwardArgs {
  const T* dy;
  const T* x;
  const T* weight;
  const T* bias;
  const T* mean;
  const T* rstd;
  T* dx;
  T* dweight;
  T* dbias;
  int64_t n, s, c, groups;
  Activation act;
};

// x, y (rows, c); weight, bias (c,) or null; mean, rstd (rows,), each null where nobody wants it
template <class T>
struct LayerNormArgs {
  const T* x;
  const T* weight;
  const T* bias;
  T* y;
  T* mean;
  T* rstd;
  int64_t rows, c;
  double eps;
};

template <class T>
struct LayerNormBackwardArgs {
  const T* dy;
  const T* x;
  const T* weight;
  const T* mean;
  const T* rstd;
  T* dx;
  T* dweight;
  T* dbias;
  int64_t rows, c;
};

// q, o (n, tq, heads*d), k (n, tk, heads*d), v (n, tk, heads*d), rows of q, k and v ldq, ldk and
// ldv apart; lse (n, heads, tq), null where nobody wants it, holds the log of the sum of
// exponentials of scale * q k^T, which the gradient needs.
template <class T>
struct AttentionArgs {
  const T* q;
  const T* k;
  const T* v;
  T* o;
  T* lse;
  int64_t n, tq, tk, heads, d, ldq, ldk, ldv;
  T scale;
};

template <class T>
struct AttentionBackwardArgs {
  const T* dy;  // gradient of o, shaped like o
  const T* q;
  const T* k;
  const T* v;
  const T* o;
  const T* lse;
  T* dq;
  T* dk;
  T* dv;
  int64_t n, tq, tk, heads, d;
  T scale;
};

// upsample_nearest: x (n, h, w, c) -> y (n, h*f, w*f, c), y = scale * x at (i/f, j/f).
// sum_pool: x (n, h*f, w*f, c) -> y (n, h, w, c), y = scale * sum of each f x f window.
// Each is the other's gradient; average pooling is sum_pool with scale 1/f^2. h, w: the small side.
template <class T>
struct ResampleArgs {
  const T* x;
  T* y;
  int64_t n, h, w, c, factor;
  T scale;
};

// y[shape] by y_strides = x[shape] by x_strides: concatenation, slices, padding, transposition.
template <class T>
struct CopyArgs {
  const T* x;
  T* y;
  int ndim;
  int64_t shape[kMaxDims];
  int64_t x_strides[kMaxDims];
  int64_t y_strides[kMaxDims];
};

// gather: y (n, c) = x (rows, c) at index[n]; scatter_add: y (rows, c) = sum of x (n, c) rows by
// index, in the order of n. The bindings check 0 <= index < rows.
template <class T>
struct GatherArgs {
  const T* x;
  const int64_t* index;
  T* y;
  int64_t n, rows, c;
};

// y (n, features) = [sin(a), cos(a)], or cosines first, of the angles a = t (n,) times frequency
// (features / 2,), rounded to float32; an odd last column is 0. Sine and cosine are computed in
// double and rounded to float32 for either T.
template <class T>
struct SinusoidArgs {
  const float* t;
  const float* frequency;
  T* y;
  int64_t n, features;
  bool cosine_first;
};

// y (n, 2 features) = [sin(a), cos(a)] of a = 2 pi log(t) weight (features,). t is float32 or
// float64, the other pointer null; log(t) is rounded to its type, a to the wider one of that and T;
// sine and cosine are computed in double.
template <class T>
struct FourierArgs {
  const float* t32;
  const double* t64;
  const T* weight;
  T* y;
  int64_t n, features;
};

// y[n] = x[n], rounded; x is float32 or float64, the other pointer null
template <class T>
struct CastArgs {
  const float* x32;
  const double* x64;
  T* y;
  int64_t n;
};

// The arrays of one parameter, each (n,): gradient g, moments m and v, and the average e or null.
template <class T>
struct AdamWItem {
  T* p;
  const T* g;
  T* m;
  T* v;
  T* e;
  int64_t n;
};

// For each of `count` items, in place on p, m, v and e, with h = scale * g: decoupled weight decay
// (Loshchilov & Hutter 2019, algorithm 2) p -= lr * wd * p; m, v moments of h;
// p -= lr * mhat / (sqrt(vhat) + eps); then e = decay * e + (1 - decay) * p. step counts from 1.
template <class T>
struct AdamWArgs {
  const AdamWItem<T>* items;
  int64_t count;
  double lr, beta1, beta2, eps, weight_decay;
  int64_t step;
  double scale, decay;
};

// e, p (n,)
template <class T>
struct EmaItem {
  T* e;
  const T* p;
  int64_t n;
};

// e = decay * e + (1 - decay) * p for each of `count` items, in place on e
template <class T>
struct EmaArgs {
  const EmaItem<T>* items;
  int64_t count;
  double decay;
};

// x (n,)
template <class T>
struct SquaresItem {
  const T* x;
  int64_t n;
};

// y (1,) = the sum of the squares of all elements of `count` items, in double
template <class T>
struct SquaresArgs {
  const SquaresItem<T>* items;
  double* y;
  int64_t count;
};

// y (images, n) = sum over `count` terms of c[term, image] x[term], each x like y, c (count,
// images)
template <class T>
struct CombineArgs {
  const T* const* x;
  const double* c;
  T* y;
  int64_t count, images, n;
};

// y (tasks,) = the ends of chains of fma, `iterations` long; flops (1,): what all tasks did.
template <class T>
struct PeakArgs {
  T* y;
  int64_t* flops;
  int64_t tasks, iterations;
};

// Philox-4x32-10 (Salmon et al. 2011). y (images, n): row i is image first_image + i. Counter
// words: (element / 4, image, step, stream), key: the two halves of seed. Element e takes output
// word e % 4. uniform: (u + 0.5) * 2^-32 in (0, 1). normal: Box-Muller on words (0,1) -> elements
// 0, 1 as r cos(2 pi u1), r sin(2 pi u1) with r = sqrt(-2 log u0), and (2,3) likewise; computed in
// double, rounded once to T.
template <class T>
struct RandomArgs {
  T* y;
  int64_t images, n;
  uint64_t seed;
  uint32_t first_image, step, stream;
};

}  // namespace pydiff
