// 2-D convolution as an implicit matrix product over (kh, kw, ci): each task gathers the pixels it
// needs, a cache block at a time. A 1x1 convolution is a matrix product as it stands.
#include "kernels/conv2d.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// The matrix that a convolution multiplies: one row per output pixel (n, oh, ow), one column per
// (ty, tx, c): x[i, oy * stride_h - top + ty, ox * stride_w - left + tx, c], 0 outside the image.
template <class T>
struct Pixels {
  const T* x;
  int64_t n, h, w, c;
  int64_t oh, ow, kh, kw, stride_h, stride_w, top, left;
  int64_t ld;  // elements from one pixel of x to the next
  int64_t rows() const { return n * oh * ow; }
  int64_t cols() const { return kh * kw * c; }
};

// Columns e0 .. e1 of (tx, c), or of c at one tap tx, for `count` pixels from (oy, ox) on, all in
// image row iy. Per pixel the columns inside the image are one run: (tx, c) runs along the row.
template <class T>
void gather_run(const Pixels<T>& g, const T* image_row, int64_t ox, int64_t tx, int64_t count,
                int64_t e0, int64_t e1, T* to, int64_t ld) {
  const int64_t step = g.stride_w * g.ld, end = g.w * g.ld;
  int64_t start = (ox * g.stride_w - g.left + tx) * g.ld;
  for (int64_t p = 0; p < count; ++p, start += step, to += ld) {
    if (start + e0 >= 0 && start + e1 <= end) {
      copy_row(e1 - e0, image_row + start + e0, to);
      continue;
    }
    const int64_t lo = least(most(-start, e0), e1), hi = most(least(end - start, e1), lo);
    fill_zero(lo - e0, to);
    copy_row(hi - lo, image_row + start + lo, to + lo - e0);
    fill_zero(e1 - hi, to + hi - e0);
  }
}

// to (rows, ld) = rows [row, row + rows) and columns [col, col + cols) of the matrix
template <class T>
void gather(const Pixels<T>& g, int64_t row, int64_t rows, int64_t col, int64_t cols, T* to,
            int64_t ld) {
  const int64_t taps = g.ld == g.c ? g.kw : 1, width = taps * g.c;  // of one run
  for (int64_t r = 0; r < rows;) {
    const int64_t ox = (row + r) % g.ow, oy = (row + r) / g.ow % g.oh, i = (row + r) / g.ow / g.oh;
    const int64_t count = least(g.ow - ox, rows - r);
    for (int64_t e = col; e < col + cols;) {
      const int64_t run = e / width, tap = run * taps;
      const int64_t iy = oy * g.stride_h - g.top + tap / g.kw;
      const int64_t e0 = e - run * width, e1 = least(width, e0 + col + cols - e);
      T* at = to + r * ld + e - col;
      if (iy >= 0 && iy < g.h)
        gather_run(g, g.x + (i * g.h + iy) * g.w * g.ld, ox, tap % g.kw, count, e0, e1, at, ld);
      else
        for (int64_t p = 0; p < count; ++p) fill_zero(e1 - e0, at + p * ld);
      e += e1 - e0;
    }
    r += count;
  }
}

// y (rows, n) = rows [row, row + rows) of the matrix times b (+ bias), copied to `pixels`
template <class T, class B>
void multiply(const Pixels<T>& g, int64_t row, int64_t rows, int64_t n, const B& b, T* y,
              int64_t ldy, const T* bias, const CopiedRows<T>& copied, T* pixels) {
  product<T, false>(
      rows, n, g.cols(),
      [&](int64_t i, int64_t depth) {
        gather(g, row, rows, i, depth, pixels, copied.ld);
        return View<T>{pixels, copied.ld};
      },
      b, y, ldy, false, bias, copied.depth);
}

template <class T>
bool is_matmul(const Conv2dArgs<T>& a) {
  return a.kh == 1 && a.kw == 1 && a.stride_h == 1 && a.stride_w == 1 && a.pad_top == 0 &&
         a.pad_left == 0 && a.ho == a.h && a.wo == a.w;
}

template <class T>
Pixels<T> pixels_of(const Conv2dArgs<T>& a) {
  return {a.x,  a.n,  a.h,        a.w,        a.ci,      a.ho,       a.wo,
          a.kh, a.kw, a.stride_h, a.stride_w, a.pad_top, a.pad_left, a.ldx};
}

// The product that a 1x1 convolution is
template <class T>
MatmulArgs<T> as_matmul(const Conv2dArgs<T>& a) {
  MatmulArgs<T> g{};
  g.a = a.x;
  g.b = a.weight;
  g.c = a.y;
  g.batch = 1;
  g.m = a.n * a.ho * a.wo;
  g.n = a.co;
  g.k = a.ci;
  g.lda = a.ldx;
  g.ldc = a.ldy;
  g.scale = 1;
  return g;
}

// y = scale * (x * weight + bias + add + residual) as an implicit matrix product.
// Floor: 2 n ho wo co kh kw ci flops; x, weight and y once through memory.
template <class T>
void direct(const Conv2dArgs<T>& a) {
  const Pixels<T> g = pixels_of(a);
  const int64_t m = g.rows(), k = g.cols(), n = a.co;
  if (is_matmul(a) && a.add == nullptr) {
    MatmulArgs<T> product = as_matmul(a);
    product.packed = a.packed;
    product.bias = a.bias;
    product.residual = a.residual;
    product.ld_residual = a.ld_residual;
    product.scale = a.scale;
    return matmul(product);
  }
  constexpr int64_t cols = Tile<T>::cols;
  const Grid cut = grid<T>(1, m, n, k);
  const bool shared = a.packed != nullptr || cut.row_tasks > 2, pack = shared && !a.packed;
  const CopiedRows<T> copied(cut.rows, k);
  const int64_t block = cut.rows * copied.ld,
                per_thread = thread_stride<T>(block + copied.depth * cols);
  const Scratch b_scratch(checked_bytes(pack ? panels<T>(n) * cols * k : 0, sizeof(T)));
  const Scratch scratch(checked_bytes(num_threads() * per_thread, sizeof(T)));
  const T* const b = pack ? b_scratch.template as<T>() : a.packed;
  if (pack) pack_b(k, n, a.weight, n, false, b_scratch.template as<T>());
  const Epilogue<T> epilogue{a.add,         a.residual, a.ho * a.wo, a.ld_add,
                             a.ld_residual, a.scale,    kNone};
  parallel_for(cut.row_tasks * cut.col_tasks, [&](int64_t task, int thread) {
    const int64_t col = task % cut.col_tasks * cut.cols, row = task / cut.col_tasks * cut.rows;
    const int64_t rows = least(cut.rows, m - row), width = least(cut.cols, n - col);
    const T* bias = a.bias == nullptr ? nullptr : a.bias + col;
    T* pixels = scratch.template as<T>() + thread * per_thread;
    T* y = a.y + row * a.ldy + col;
    if (shared) {
      multiply(g, row, rows, width, Packed<T>{b + col * k, k}, y, a.ldy, bias, copied, pixels);
    } else {
      const OwnB<T> own{a.weight + col, n, false, rows, width, pixels + block};
      multiply(g, row, rows, width, own, y, a.ldy, bias, copied, pixels);
    }
    epilogue.apply(row, rows, col, width, y, a.ldy);
  });
}

// y (n, ho, wo, co) from x (n, h, w, ci), weight (kh, kw, ci, co) or its packed form; see
// Conv2dArgs.
template <class T>
void conv2d_impl(const Conv2dArgs<T>& a) {
  if (a.n * a.ho * a.wo * a.co == 0) return;
  a.algorithm == kDirect ? direct(a) : winograd(a);
}

template <class T>
void pack_impl(const ConvPackArgs<T>& a) {
  if (a.algorithm == kDirect)
    pack_b(a.kh * a.kw * a.ci, a.co, a.weight, a.co, false, a.packed);
  else
    winograd_pack(a);
}

// The pixels iy = stride_h * q + py - top of x for q = qy, qy + 1, ..., and likewise in x, which
// meet the same taps py, py + stride_h, ...: over q a convolution of dy with stride 1.
struct Phase {
  int64_t py, px, qy, qx, qh, qw, taps_y, taps_x;
};

template <class T>
Phase phase(const Conv2dArgs<T>& a, int64_t py, int64_t px) {
  Phase p;
  p.py = py;
  p.px = px;
  p.qy = ceil_div(most(0, a.pad_top - py), a.stride_h);
  p.qx = ceil_div(most(0, a.pad_left - px), a.stride_w);
  p.qh = most(0, ceil_div(a.h + a.pad_top - py, a.stride_h) - p.qy);
  p.qw = most(0, ceil_div(a.w + a.pad_left - px, a.stride_w) - p.qx);
  p.taps_y = most(0, ceil_div(a.kh - py, a.stride_h));
  p.taps_x = most(0, ceil_div(a.kw - px, a.stride_w));
  return p;
}

// b (taps, co, ci) packed: the phase's taps in reverse order, each (ci, co) of weight transposed.
template <class T>
void pack_reversed(const Conv2dArgs<T>& a, const Phase& p, T* to) {
  constexpr int64_t cols = Tile<T>::cols;
  const int64_t taps = p.taps_y * p.taps_x, k = taps * a.co;
  parallel_for(taps, [&](int64_t tap, int) {
    const int64_t ty = p.py + a.stride_h * (p.taps_y - 1 - tap / p.taps_x);
    const int64_t tx = p.px + a.stride_w * (p.taps_x - 1 - tap % p.taps_x);
    const T* weight = a.weight + (ty * a.kw + tx) * a.ci * a.co;
    for (int64_t j = 0; j < a.ci; j += cols)
      pack_panel(a.co, least(cols, a.ci - j), weight + j * a.co, a.co, true,
                 to + j * k + tap * a.co * cols);
  });
}

template <class T>
void backward_data_phase(const Conv2dArgs<T>& a, const Phase& p) {
  const Pixels<T> g{a.y,
                    a.n,
                    a.ho,
                    a.wo,
                    a.co,
                    p.qh,
                    p.qw,
                    p.taps_y,
                    p.taps_x,
                    1,
                    1,
                    p.taps_y - 1 - p.qy,
                    p.taps_x - 1 - p.qx,
                    a.co};
  const int64_t m = g.rows(), k = g.cols(), n = a.ci;
  if (m == 0 || n == 0) return;
  constexpr int64_t cols = Tile<T>::cols;
  const bool in_place = a.stride_h == 1 && a.stride_w == 1;
  const Grid cut = grid<T>(1, m, n, k);
  const CopiedRows<T> copied(cut.rows, k);
  const int64_t block = cut.rows * copied.ld,
                per_thread = thread_stride<T>(block + cut.rows * cut.cols);
  const Scratch b_scratch(checked_bytes(panels<T>(n) * cols * k, sizeof(T)));
  const Scratch scratch(checked_bytes(num_threads() * per_thread, sizeof(T)));
  T* const b = b_scratch.template as<T>();
  pack_reversed(a, p, b);
  parallel_for(cut.row_tasks * cut.col_tasks, [&](int64_t task, int thread) {
    const int64_t col = task % cut.col_tasks * cut.cols, row = task / cut.col_tasks * cut.rows;
    const int64_t rows = least(cut.rows, m - row), width = least(cut.cols, n - col);
    T* pixels = scratch.template as<T>() + thread * per_thread;
    T* dx = in_place ? a.x + row * n + col : pixels + block;
    const int64_t ld = in_place ? n : cut.cols;
    multiply(g, row, rows, width, Packed<T>{b + col * k, k}, dx, ld, static_cast<const T*>(nullptr),
             copied, pixels);
    for (int64_t r = 0; r < rows && !in_place; ++r) {
      const int64_t qx = (row + r) % p.qw, qy = (row + r) / p.qw % p.qh,
                    i = (row + r) / p.qw / p.qh;
      const int64_t iy = a.stride_h * (p.qy + qy) + p.py - a.pad_top;
      const int64_t ix = a.stride_w * (p.qx + qx) + p.px - a.pad_left;
      copy_row(width, dx + r * ld, a.x + ((i * a.h + iy) * a.w + ix) * n + col);
    }
  });
}

// x (n, h, w, ci) = the gradient of y's product with y (n, ho, wo, co) (= dy), given weight
// (kh, kw, ci, co); writes x.
template <class T>
void backward_data_impl(const Conv2dArgs<T>& a) {
  if (a.n * a.h * a.w * a.ci == 0) return;
  if (is_matmul(a)) {
    MatmulArgs<T> product = as_matmul(a);
    product.a = a.y;
    product.c = a.x;
    product.n = product.ldc = a.ci;
    product.k = product.lda = a.co;
    product.transpose_b = true;
    return matmul(product);
  }
  if (a.algorithm != kDirect) return winograd_backward_data(a);
  for (int64_t py = 0; py < a.stride_h; ++py)
    for (int64_t px = 0; px < a.stride_w; ++px) backward_data_phase(a, phase(a, py, px));
}

// weight (kh, kw, ci, co) = the gradient, given x (n, h, w, ci) and y (n, ho, wo, co) (= dy);
// writes weight. The sum over pixels is cut into parts by shape.
template <class T>
void backward_weight_impl(const Conv2dArgs<T>& a) {
  const Pixels<T> g = pixels_of(a);
  const int64_t m = g.cols(), n = a.co, k = g.rows();
  if (m == 0 || n == 0) return;
  if (is_matmul(a)) {
    MatmulArgs<T> product = as_matmul(a);
    product.b = a.y;
    product.c = a.weight;
    product.m = a.ci;
    product.k = k;
    product.ldc = n;
    product.transpose_a = true;
    return matmul(product);
  }
  if (a.algorithm != kDirect && k > 0) return winograd_backward_weight(a);

  constexpr int64_t most_cols = 512, depth = Tile<T>::near_depth;
  const int64_t parts = depth_parts(m, n, k), part = ceil_div(k, parts);
  const int64_t row_tasks = ceil_div(m, 224), most_rows = ceil_div(m, row_tasks),
                col_tasks = ceil_div(n, most_cols);
  const int64_t block = depth * most_rows,
                per_thread = thread_stride<T>(block + depth * Tile<T>::cols);
  const Scratch sums(checked_bytes(parts > 1 ? parts * m * n : 0, sizeof(T)));
  const Scratch scratch(checked_bytes(num_threads() * per_thread, sizeof(T)));
  T* const to = parts > 1 ? sums.template as<T>() : a.weight;
  parallel_for(parts * row_tasks * col_tasks, [&](int64_t task, int thread) {
    const int64_t col = task % col_tasks * most_cols, width = least(most_cols, n - col);
    const int64_t row = task / col_tasks % row_tasks * most_rows, rows = least(most_rows, m - row);
    const int64_t s = task / col_tasks / row_tasks, first = s * part;
    T* pixels = scratch.template as<T>() + thread * per_thread;
    product<T, true>(
        rows, width, most(0, least(part, k - first)),
        [&](int64_t i, int64_t d) {
          gather(g, first + i, d, row, rows, pixels, most_rows);
          return View<T>{pixels, most_rows};
        },
        OwnB<T>{a.y + first * n + col, n, false, rows, width, pixels + block},
        to + s * m * n + row * n + col, n, false, static_cast<const T*>(nullptr));
  });
  if (parts > 1) sum_parts(parts, m * n, to, a.weight);
}

}  // namespace

void conv2d(const Conv2dArgs<float>& args) { conv2d_impl(args); }
void conv2d(const Conv2dArgs<double>& args) { conv2d_impl(args); }
void conv2d_pack(const ConvPackArgs<float>& args) { pack_impl(args); }
void conv2d_pack(const ConvPackArgs<double>& args) { pack_impl(args); }
void conv2d_backward_data(const Conv2dArgs<float>& args) { backward_data_impl(args); }
void conv2d_backward_data(const Conv2dArgs<double>& args) { backward_data_impl(args); }
void conv2d_backward_weight(const Conv2dArgs<float>& args) { backward_weight_impl(args); }
void conv2d_backward_weight(const Conv2dArgs<double>& args) { backward_weight_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
