// Matrix product, convolution, normalisation and attention.
#include <algorithm>
#include <cmath>

#include "bindings/arguments.h"

namespace pydiff::bindings {
namespace {

constexpr int64_t kMaxExtent = int64_t{1} << 31;  // of an axis, a stride or a padding

template <class T>
T* optional(const char* op, const char* name, py::handle object, int64_t size) {
  if (object.is_none()) return nullptr;
  const auto array = input<T>(op, name, object);
  expect_size(op, array, size);
  return array.data;
}
template <class T>
T* optional_output(const char* op, const char* name, py::handle object, int64_t size) {
  if (object.is_none()) return nullptr;
  const auto array = output<T>(op, name, object);
  expect_size(op, array, size);
  return array.data;
}

// a (1 or batch, m, k), b (1 or batch, k, n), either transposed; c (batch, m, n)
void matmul(py::handle a_, py::handle b_, py::handle bias_, py::handle c_, bool transpose_a,
            bool transpose_b) {
  const char* op = "matmul";
  with_dtype(op, "a", a_, [&](auto tag) {
    using T = decltype(tag);
    const auto a = input<T>(op, "a", a_), b = input<T>(op, "b", b_), c = output<T>(op, "c", c_);
    expect_ndim(op, a, 3);
    expect_ndim(op, b, 3);
    expect_ndim(op, c, 3);
    const int64_t batch = c.shape[0], m = c.shape[1], n = c.shape[2];
    const int64_t k = a.shape[transpose_a ? 1 : 2];
    const int64_t a_count = a.shape[0] == 1 ? 1 : batch, b_count = b.shape[0] == 1 ? 1 : batch;
    transpose_a ? expect_shape(op, a, {a_count, k, m}) : expect_shape(op, a, {a_count, m, k});
    transpose_b ? expect_shape(op, b, {b_count, n, k}) : expect_shape(op, b, {b_count, k, n});
    const T* bias = optional<T>(op, "bias", bias_, n);
    if (c.size == 0) return;
    run(table().matmul,
        MatmulArgs<T>{a.data, b.data, bias, c.data, batch, m, n, k, a_count == 1 ? 0 : m * k,
                      b_count == 1 ? 0 : k * n, transpose_a, transpose_b});
  });
}

struct Geometry {
  int64_t stride_h, stride_w, pad_top, pad_left;
};

template <class T>
Conv2dArgs<T> conv_args(const char* op, const Array<T>& x, const Array<T>& weight,
                        const Array<T>& y, const Geometry& g) {
  expect_ndim(op, x, 4);
  expect_ndim(op, weight, 4);
  expect_ndim(op, y, 4);
  for (const Array<T>* array : {&x, &weight, &y})
    for (int i = 0; i < 4; ++i)
      expect(op, array->shape[i] <= kMaxExtent, "an axis is longer than 2^31");
  expect(op, std::min(g.stride_h, g.stride_w) >= 1, "strides must be at least 1");
  expect(op, std::min(g.pad_top, g.pad_left) >= 0, "padding must not be negative");
  expect(op, std::max({g.stride_h, g.stride_w, g.pad_top, g.pad_left}) <= kMaxExtent,
         "a stride or a padding is larger than 2^31");
  const int64_t ci = x.shape[3], co = y.shape[3];
  expect_shape(op, weight, {weight.shape[0], weight.shape[1], ci, co});
  expect(op, x.shape[0] == y.shape[0], "x and y hold different numbers of images");
  expect(op, weight.shape[0] >= 1 && weight.shape[1] >= 1, "the kernel is empty");
  return {x.data,     weight.data, nullptr,    y.data,          x.shape[0],      x.shape[1],
          x.shape[2], ci,          co,         weight.shape[0], weight.shape[1], y.shape[1],
          y.shape[2], g.stride_h,  g.stride_w, g.pad_top,       g.pad_left};
}

void conv2d(py::handle x_, py::handle weight_, py::handle bias_, py::handle y_, int64_t stride_h,
            int64_t stride_w, int64_t pad_top, int64_t pad_left) {
  const char* op = "conv2d";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_), weight = input<T>(op, "weight", weight_);
    const auto y = output<T>(op, "y", y_);
    Conv2dArgs<T> args = conv_args(op, x, weight, y, {stride_h, stride_w, pad_top, pad_left});
    args.bias = optional<T>(op, "bias", bias_, args.co);
    if (y.size > 0) run(table().conv2d, args);
  });
}

void conv2d_backward_data(py::handle dy_, py::handle weight_, py::handle dx_, int64_t stride_h,
                          int64_t stride_w, int64_t pad_top, int64_t pad_left) {
  const char* op = "conv2d_backward_data";
  with_dtype(op, "dy", dy_, [&](auto tag) {
    using T = decltype(tag);
    const auto dy = input<T>(op, "dy", dy_), weight = input<T>(op, "weight", weight_);
    const auto dx = output<T>(op, "dx", dx_);
    const auto args = conv_args(op, dx, weight, dy, {stride_h, stride_w, pad_top, pad_left});
    if (dx.size > 0) run(table().conv2d_backward_data, args);
  });
}

void conv2d_backward_weight(py::handle x_, py::handle dy_, py::handle dweight_, int64_t stride_h,
                            int64_t stride_w, int64_t pad_top, int64_t pad_left) {
  const char* op = "conv2d_backward_weight";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_), dy = input<T>(op, "dy", dy_);
    const auto dweight = output<T>(op, "dweight", dweight_);
    const auto args = conv_args(op, x, dweight, dy, {stride_h, stride_w, pad_top, pad_left});
    if (dweight.size > 0) run(table().conv2d_backward_weight, args);
  });
}

// x (n, ..., c) seen as (n, s, c)
struct Channels {
  int64_t n, s, c;
};

template <class T>
Channels channels_of(const char* op, const Array<T>& x, int64_t groups) {
  expect(op, x.ndim >= 2, "x needs at least two axes");
  const int64_t n = x.shape[0], c = x.shape[x.ndim - 1];
  int64_t s = 1;
  for (int i = 1; i < x.ndim - 1; ++i) s = checked_product(op, {s, x.shape[i]});
  expect(op, groups >= 1 && c % groups == 0, "groups must divide the channels");
  return {n, s, c};
}

Activation activation(const char* op, int act) {
  expect(op, act == kNone || act == kSilu, "act must be 0 (none) or 1 (silu)");
  return static_cast<Activation>(act);
}

void group_norm(py::handle x_, py::handle weight_, py::handle bias_, py::handle y_,
                py::handle mean_, py::handle rstd_, int64_t groups, double eps, int act) {
  const char* op = "group_norm";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto y = output<T>(op, "y", y_), mean = output<T>(op, "mean", mean_);
    const auto rstd = output<T>(op, "rstd", rstd_);
    const auto [n, s, c] = channels_of(op, x, groups);
    expect_same_shape(op, y, x);
    expect_shape(op, mean, {n, groups});
    expect_shape(op, rstd, {n, groups});
    const T* weight = optional<T>(op, "weight", weight_, c);
    const T* bias = optional<T>(op, "bias", bias_, c);
    const Activation f = activation(op, act);
    if (x.size == 0) {
      std::fill_n(mean.data, mean.size, T(0));
      std::fill_n(rstd.data, rstd.size, T(0));
      return;
    }
    run(table().group_norm, GroupNormArgs<T>{x.data, weight, bias, y.data, mean.data, rstd.data, n,
                                             s, c, groups, eps, f});
  });
}

void group_norm_backward(py::handle dy_, py::handle x_, py::handle weight_, py::handle bias_,
                         py::handle mean_, py::handle rstd_, py::handle dx_, py::handle dweight_,
                         py::handle dbias_, int64_t groups, int act) {
  const char* op = "group_norm_backward";
  with_dtype(op, "dy", dy_, [&](auto tag) {
    using T = decltype(tag);
    const auto dy = input<T>(op, "dy", dy_), x = input<T>(op, "x", x_);
    const auto mean = input<T>(op, "mean", mean_), rstd = input<T>(op, "rstd", rstd_);
    const auto dx = output<T>(op, "dx", dx_);
    const auto [n, s, c] = channels_of(op, x, groups);
    expect_same_shape(op, dy, x);
    expect_same_shape(op, dx, x);
    expect_shape(op, mean, {n, groups});
    expect_shape(op, rstd, {n, groups});
    const T* weight = optional<T>(op, "weight", weight_, c);
    const T* bias = optional<T>(op, "bias", bias_, c);
    T* dweight = optional_output<T>(op, "dweight", dweight_, c);
    T* dbias = optional_output<T>(op, "dbias", dbias_, c);
    expect(op, (dweight == nullptr) == (weight == nullptr) && !dweight == !dbias,
           "dweight and dbias belong to weight");
    const Activation f = activation(op, act);
    if (x.size == 0) {
      if (dweight != nullptr) std::fill_n(dweight, c, T(0));
      if (dbias != nullptr) std::fill_n(dbias, c, T(0));
      return;
    }
    run(table().group_norm_backward,
        GroupNormBackwardArgs<T>{dy.data, x.data, weight, bias, mean.data, rstd.data, dx.data,
                                 dweight, dbias, n, s, c, groups, f});
  });
}

template <class T>
int64_t last_axis(const char* op, const Array<T>& x) {
  expect(op, x.ndim >= 1, "x needs at least one axis");
  return x.shape[x.ndim - 1];
}

void layer_norm(py::handle x_, py::handle weight_, py::handle bias_, py::handle y_,
                py::handle mean_, py::handle rstd_, double eps) {
  const char* op = "layer_norm";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto y = output<T>(op, "y", y_), mean = output<T>(op, "mean", mean_);
    const auto rstd = output<T>(op, "rstd", rstd_);
    const int64_t c = last_axis(op, x), rows = c > 0 ? x.size / c : 0;
    expect_same_shape(op, y, x);
    const T* weight = optional<T>(op, "weight", weight_, c);
    const T* bias = optional<T>(op, "bias", bias_, c);
    if (x.size == 0) return;
    expect_size(op, mean, rows);
    expect_size(op, rstd, rows);
    run(table().layer_norm,
        LayerNormArgs<T>{x.data, weight, bias, y.data, mean.data, rstd.data, rows, c, eps});
  });
}

void layer_norm_backward(py::handle dy_, py::handle x_, py::handle weight_, py::handle mean_,
                         py::handle rstd_, py::handle dx_, py::handle dweight_, py::handle dbias_) {
  const char* op = "layer_norm_backward";
  with_dtype(op, "dy", dy_, [&](auto tag) {
    using T = decltype(tag);
    const auto dy = input<T>(op, "dy", dy_), x = input<T>(op, "x", x_);
    const auto mean = input<T>(op, "mean", mean_), rstd = input<T>(op, "rstd", rstd_);
    const auto dx = output<T>(op, "dx", dx_);
    const int64_t c = last_axis(op, x), rows = c > 0 ? x.size / c : 0;
    expect_same_shape(op, dy, x);
    expect_same_shape(op, dx, x);
    const T* weight = optional<T>(op, "weight", weight_, c);
    T* dweight = optional_output<T>(op, "dweight", dweight_, c);
    T* dbias = optional_output<T>(op, "dbias", dbias_, c);
    expect(op, (dweight == nullptr) == (weight == nullptr) && !dweight == !dbias,
           "dweight and dbias belong to weight");
    if (x.size == 0) {
      if (dweight != nullptr) std::fill_n(dweight, c, T(0));
      if (dbias != nullptr) std::fill_n(dbias, c, T(0));
      return;
    }
    expect_size(op, mean, rows);
    expect_size(op, rstd, rows);
    run(table().layer_norm_backward,
        LayerNormBackwardArgs<T>{dy.data, x.data, weight, mean.data, rstd.data, dx.data, dweight,
                                 dbias, rows, c});
  });
}

// q (n, tq, c), k and v (n, tk, c)
struct Heads {
  int64_t n, tq, tk, heads, d;
};

template <class T>
Heads attention_shape(const char* op, const Array<T>& q, const Array<T>& k, const Array<T>& v,
                      int64_t heads) {
  expect_ndim(op, q, 3);
  expect_ndim(op, k, 3);
  const int64_t n = q.shape[0], tq = q.shape[1], tk = k.shape[1], c = q.shape[2];
  expect_shape(op, k, {n, tk, c});
  expect_shape(op, v, {n, tk, c});
  expect(op, heads >= 1 && c % heads == 0, "heads must divide the channels");
  return {n, tq, tk, heads, c / heads};
}

void attention(py::handle q_, py::handle k_, py::handle v_, py::handle o_, py::handle lse_,
               int64_t heads, double scale) {
  const char* op = "attention";
  with_dtype(op, "q", q_, [&](auto tag) {
    using T = decltype(tag);
    const auto q = input<T>(op, "q", q_), k = input<T>(op, "k", k_), v = input<T>(op, "v", v_);
    const auto o = output<T>(op, "o", o_), lse = output<T>(op, "lse", lse_);
    const Heads s = attention_shape(op, q, k, v, heads);
    expect_same_shape(op, o, q);
    expect_shape(op, lse, {s.n, heads, s.tq});
    expect(op, s.tk > 0, "k and v hold no tokens");
    if (o.size == 0) {
      std::fill_n(lse.data, lse.size, static_cast<T>(std::log(s.tk)));
      return;
    }
    run(table().attention, AttentionArgs<T>{q.data, k.data, v.data, o.data, lse.data, s.n, s.tq,
                                            s.tk, heads, s.d, static_cast<T>(scale)});
  });
}

void attention_backward(py::handle dy_, py::handle q_, py::handle k_, py::handle v_, py::handle o_,
                        py::handle lse_, py::handle dq_, py::handle dk_, py::handle dv_,
                        int64_t heads, double scale) {
  const char* op = "attention_backward";
  with_dtype(op, "dy", dy_, [&](auto tag) {
    using T = decltype(tag);
    const auto dy = input<T>(op, "dy", dy_), q = input<T>(op, "q", q_);
    const auto k = input<T>(op, "k", k_), v = input<T>(op, "v", v_), o = input<T>(op, "o", o_);
    const auto lse = input<T>(op, "lse", lse_), dq = output<T>(op, "dq", dq_);
    const auto dk = output<T>(op, "dk", dk_), dv = output<T>(op, "dv", dv_);
    const Heads s = attention_shape(op, q, k, v, heads);
    expect_same_shape(op, dy, q);
    expect_same_shape(op, o, q);
    expect_same_shape(op, dq, q);
    expect_same_shape(op, dk, k);
    expect_same_shape(op, dv, v);
    expect_shape(op, lse, {s.n, heads, s.tq});
    if (dq.size == 0 || dk.size == 0) {
      std::fill_n(dq.data, dq.size, T(0));
      std::fill_n(dk.data, dk.size, T(0));
      std::fill_n(dv.data, dv.size, T(0));
      return;
    }
    run(table().attention_backward,
        AttentionBackwardArgs<T>{dy.data, q.data, k.data, v.data, o.data, lse.data, dq.data,
                                 dk.data, dv.data, s.n, s.tq, s.tk, heads, s.d,
                                 static_cast<T>(scale)});
  });
}

}  // namespace

void bind_layers(py::module_& m) {
  using py::arg;
  m.def("matmul", &matmul, arg("a"), arg("b"), arg("bias"), arg("c"), arg("transpose_a"),
        arg("transpose_b"));
  m.def("conv2d", &conv2d, arg("x"), arg("weight"), arg("bias"), arg("y"), arg("stride_h"),
        arg("stride_w"), arg("pad_top"), arg("pad_left"));
  m.def("conv2d_backward_data", &conv2d_backward_data, arg("dy"), arg("weight"), arg("dx"),
        arg("stride_h"), arg("stride_w"), arg("pad_top"), arg("pad_left"));
  m.def("conv2d_backward_weight", &conv2d_backward_weight, arg("x"), arg("dy"), arg("dweight"),
        arg("stride_h"), arg("stride_w"), arg("pad_top"), arg("pad_left"));
  m.def("group_norm", &group_norm, arg("x"), arg("weight"), arg("bias"), arg("y"), arg("mean"),
        arg("rstd"), arg("groups"), arg("eps"), arg("act"));
  m.def("group_norm_backward", &group_norm_backward, arg("dy"), arg("x"), arg("weight"),
        arg("bias"), arg("mean"), arg("rstd"), arg("dx"), arg("dweight"), arg("dbias"),
        arg("groups"), arg("act"));
  m.def("layer_norm", &layer_norm, arg("x"), arg("weight"), arg("bias"), arg("y"), arg("mean"),
        arg("rstd"), arg("eps"));
  m.def("layer_norm_backward", &layer_norm_backward, arg("dy"), arg("x"), arg("weight"),
        arg("mean"), arg("rstd"), arg("dx"), arg("dweight"), arg("dbias"));
  m.def("attention", &attention, arg("q"), arg("k"), arg("v"), arg("o"), arg("lse"), arg("heads"),
        arg("scale"));
  m.def("attention_backward", &attention_backward, arg("dy"), arg("q"), arg("k"), arg("v"),
        arg("o"), arg("lse"), arg("dq"), arg("dk"), arg("dv"), arg("heads"), arg("scale"));
}

}  // namespace pydiff::bindings
