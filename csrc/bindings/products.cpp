// Matrix product, convolution and attention.
#include <algorithm>
#include <cmath>

#include "bindings/arguments.h"
#include "core/conv_choice.h"

namespace pydiff::bindings {
namespace {

// A packed weight is padded to whole panels of the widest instruction set.
template <class T>
constexpr int64_t kPackedColumns = 128 / static_cast<int64_t>(sizeof(T));

constexpr int64_t kMaxExtent = int64_t{1} << 31;  // of an axis, a stride or a padding

// The memory of a packed weight, of the size that conv2d_pack fills; null for None
template <class T>
const T* packed_weight(const char* op, py::handle object, int64_t kh, int64_t kw, int64_t ci,
                       int64_t co, ConvAlgorithm algorithm) {
  if (object.is_none()) return nullptr;
  const auto packed = input<T>(op, "packed", object);
  expect_size(op, packed, conv_packed_size(kh, kw, ci, co, algorithm, kPackedColumns<T>));
  return packed.data;
}

// residual and ld_residual of a product or convolution, from rows shaped like its result or None
template <class T, class Args>
void take_residual(const char* op, py::handle object, const Array<T>& like, Args* args) {
  if (object.is_none()) return;
  const auto residual = input_rows<T>(op, "residual", object);
  expect_same_shape(op, residual, like);
  args->residual = residual.data, args->ld_residual = row_stride(op, residual);
}

// a (1 or batch, m, k), b (1 or batch, k, n), either transposed; c (batch, m, n)
void matmul(py::handle a_, py::handle b_, py::handle bias_, py::handle c_, bool transpose_a,
            bool transpose_b, py::handle packed, py::handle residual_, double scale, int act) {
  const char* op = "matmul";
  with_dtype(op, "a", a_, [&](auto tag) {
    using T = decltype(tag);
    const auto a = input_rows<T>(op, "a", a_), c = output_rows<T>(op, "c", c_);
    const auto b = input<T>(op, "b", b_);
    expect_ndim(op, a, 3);
    expect_ndim(op, b, 3);
    expect_ndim(op, c, 3);
    MatmulArgs<T> g{};
    g.batch = c.shape[0], g.m = c.shape[1], g.n = c.shape[2];
    g.k = a.shape[transpose_a ? 1 : 2];
    const int64_t a_count = a.shape[0] == 1 ? 1 : g.batch, b_count = b.shape[0] == 1 ? 1 : g.batch;
    transpose_a ? expect_shape(op, a, {a_count, g.k, g.m})
                : expect_shape(op, a, {a_count, g.m, g.k});
    transpose_b ? expect_shape(op, b, {b_count, g.n, g.k})
                : expect_shape(op, b, {b_count, g.k, g.n});
    g.a = a.data, g.b = b.data, g.c = c.data;
    g.a_batch = a_count == 1 ? 0 : g.m * g.k, g.b_batch = b_count == 1 ? 0 : g.k * g.n;
    g.lda = row_stride(op, a), g.ldc = row_stride(op, c);
    g.bias = optional<T>(op, "bias", bias_, g.n);
    g.transpose_a = transpose_a, g.transpose_b = transpose_b;
    g.scale = static_cast<T>(scale), g.act = activation(op, act);
    take_residual(op, residual_, c, &g);
    if (!packed.is_none()) {
      expect(op, b_count == 1 && !transpose_b,
             "packed takes the place of one b that is not transposed");
      g.packed = packed_weight<T>(op, packed, 1, 1, g.k, g.n, kDirect);
    }
    const bool dense = g.lda == a.shape[2] && g.ldc == g.n && (!g.residual || g.ld_residual == g.n);
    expect(op, g.batch == 1 || dense, "with several products a, c and residual must be contiguous");
    if (c.size > 0) run(table().matmul, g);
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
  Conv2dArgs<T> a{};
  a.x = x.data, a.weight = weight.data, a.y = y.data;
  a.n = x.shape[0], a.h = x.shape[1], a.w = x.shape[2], a.ci = ci, a.co = co;
  a.kh = weight.shape[0], a.kw = weight.shape[1], a.ho = y.shape[1], a.wo = y.shape[2];
  a.stride_h = g.stride_h, a.stride_w = g.stride_w, a.pad_top = g.pad_top, a.pad_left = g.pad_left;
  a.ldx = row_stride(op, x), a.ldy = row_stride(op, y);
  a.scale = 1;
  return a;
}

// A number of ConvAlgorithm that can compute this convolution; -1 lets the shape choose.
template <class T>
ConvAlgorithm conv_algorithm(const char* op, int wanted, const Conv2dArgs<T>& a) {
  if (wanted == -1) return choose_conv(a.ho, a.wo, a.ci, a.co, a.kh, a.kw, a.stride_h, a.stride_w);
  expect(op, wanted == kDirect || wanted == kWinograd2 || wanted == kWinograd4,
         "algorithm must be -1 (by shape), 0 (direct), 2 or 4 (Winograd)");
  const bool winograd = a.kh == 3 && a.kw == 3 && a.stride_h == 1 && a.stride_w == 1;
  expect(op, wanted == kDirect || winograd, "Winograd needs a 3x3 kernel and stride 1");
  return static_cast<ConvAlgorithm>(wanted);
}

void conv2d(py::handle x_, py::handle weight_, py::handle bias_, py::handle y_, int64_t stride_h,
            int64_t stride_w, int64_t pad_top, int64_t pad_left, int algorithm, py::handle packed,
            py::handle add_, py::handle residual_, double scale) {
  const char* op = "conv2d";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input_rows<T>(op, "x", x_), weight = input<T>(op, "weight", weight_);
    const auto y = output_rows<T>(op, "y", y_);
    Conv2dArgs<T> a = conv_args(op, x, weight, y, {stride_h, stride_w, pad_top, pad_left});
    a.bias = optional<T>(op, "bias", bias_, a.co);
    a.algorithm = conv_algorithm(op, algorithm, a);
    a.packed = packed_weight<T>(op, packed, a.kh, a.kw, a.ci, a.co, a.algorithm);
    a.scale = static_cast<T>(scale);
    if (!add_.is_none()) {
      const auto add = input_rows<T>(op, "add", add_);
      expect_shape(op, add, {a.n, a.co});
      a.add = add.data, a.ld_add = row_stride(op, add);
    }
    take_residual(op, residual_, y, &a);
    if (y.size > 0) run(table().conv2d, a);
  });
}

void conv2d_backward_data(py::handle dy_, py::handle weight_, py::handle dx_, int64_t stride_h,
                          int64_t stride_w, int64_t pad_top, int64_t pad_left, int algorithm) {
  const char* op = "conv2d_backward_data";
  with_dtype(op, "dy", dy_, [&](auto tag) {
    using T = decltype(tag);
    const auto dy = input<T>(op, "dy", dy_), weight = input<T>(op, "weight", weight_);
    const auto dx = output<T>(op, "dx", dx_);
    auto a = conv_args(op, dx, weight, dy, {stride_h, stride_w, pad_top, pad_left});
    a.algorithm = conv_algorithm(op, algorithm, a);
    if (dx.size > 0) run(table().conv2d_backward_data, a);
  });
}

void conv2d_backward_weight(py::handle x_, py::handle dy_, py::handle dweight_, int64_t stride_h,
                            int64_t stride_w, int64_t pad_top, int64_t pad_left, int algorithm) {
  const char* op = "conv2d_backward_weight";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_), dy = input<T>(op, "dy", dy_);
    const auto dweight = output<T>(op, "dweight", dweight_);
    auto a = conv_args(op, x, dweight, dy, {stride_h, stride_w, pad_top, pad_left});
    a.algorithm = conv_algorithm(op, algorithm, a);
    if (dweight.size > 0) run(table().conv2d_backward_weight, a);
  });
}

// weight (kh, kw, ci, co) -> packed (conv2d_packed_size,)
void conv2d_pack(py::handle weight_, py::handle packed_, int algorithm) {
  const char* op = "conv2d_pack";
  with_dtype(op, "weight", weight_, [&](auto tag) {
    using T = decltype(tag);
    const auto weight = input<T>(op, "weight", weight_), packed = output<T>(op, "packed", packed_);
    expect_ndim(op, weight, 4);
    Conv2dArgs<T> a{};
    a.kh = weight.shape[0], a.kw = weight.shape[1], a.ci = weight.shape[2], a.co = weight.shape[3];
    a.stride_h = a.stride_w = 1;
    const ConvAlgorithm chosen = conv_algorithm(op, std::max(algorithm, 0), a);
    expect_size(op, packed, conv_packed_size(a.kh, a.kw, a.ci, a.co, chosen, kPackedColumns<T>));
    if (packed.size > 0)
      run(table().conv2d_pack,
          ConvPackArgs<T>{weight.data, packed.data, a.kh, a.kw, a.ci, a.co, chosen, false});
  });
}

// Elements of a packed float32 or float64 weight
int64_t conv2d_packed_size(int64_t kh, int64_t kw, int64_t ci, int64_t co, int algorithm,
                           int itemsize) {
  const char* op = "conv2d_packed_size";
  const auto chosen = static_cast<ConvAlgorithm>(algorithm);
  const int64_t columns = itemsize == 4 ? kPackedColumns<float> : kPackedColumns<double>;
  const int64_t size = conv_packed_size(kh, kw, ci, co, chosen, columns);
  expect(op, size >= 0, "a size is negative or too large");
  return size;
}

int conv2d_algorithm(int64_t ho, int64_t wo, int64_t ci, int64_t co, int64_t kh, int64_t kw,
                     int64_t stride_h, int64_t stride_w) {
  return choose_conv(ho, wo, ci, co, kh, kw, stride_h, stride_w);
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
    const auto q = input_rows<T>(op, "q", q_), k = input_rows<T>(op, "k", k_);
    const auto v = input_rows<T>(op, "v", v_), o = output<T>(op, "o", o_);
    const Heads s = attention_shape(op, q, k, v, heads);
    expect_same_shape(op, o, q);
    const int64_t queries = checked_product(op, {s.n, heads, s.tq});
    T* lse = optional_output<T>(op, "lse", lse_, queries);
    expect(op, s.tk > 0, "k and v hold no tokens");
    if (o.size == 0) {
      if (lse != nullptr) std::fill_n(lse, queries, static_cast<T>(std::log(s.tk)));
      return;
    }
    run(table().attention, AttentionArgs<T>{q.data, k.data, v.data, o.data, lse, s.n, s.tq, s.tk,
                                            heads, s.d, row_stride(op, q), row_stride(op, k),
                                            row_stride(op, v), static_cast<T>(scale)});
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

void bind_products(py::module_& m) {
  using py::arg;
  const py::object none = py::none();
  m.def("matmul", &matmul, arg("a"), arg("b"), arg("bias"), arg("c"), arg("transpose_a"),
        arg("transpose_b"), arg("packed") = none, arg("residual") = none, arg("scale") = 1.0,
        arg("act") = 0);
  m.def("conv2d", &conv2d, arg("x"), arg("weight"), arg("bias"), arg("y"), arg("stride_h"),
        arg("stride_w"), arg("pad_top"), arg("pad_left"), arg("algorithm") = -1,
        arg("packed") = none, arg("add") = none, arg("residual") = none, arg("scale") = 1.0);
  m.def("conv2d_backward_data", &conv2d_backward_data, arg("dy"), arg("weight"), arg("dx"),
        arg("stride_h"), arg("stride_w"), arg("pad_top"), arg("pad_left"), arg("algorithm") = -1);
  m.def("conv2d_backward_weight", &conv2d_backward_weight, arg("x"), arg("dy"), arg("dweight"),
        arg("stride_h"), arg("stride_w"), arg("pad_top"), arg("pad_left"), arg("algorithm") = -1);
  m.def("conv2d_pack", &conv2d_pack, arg("weight"), arg("packed"), arg("algorithm"));
  m.def("conv2d_packed_size", &conv2d_packed_size, arg("kh"), arg("kw"), arg("ci"), arg("co"),
        arg("algorithm"), arg("itemsize") = 4);
  m.def("conv2d_algorithm", &conv2d_algorithm, arg("ho"), arg("wo"), arg("ci"), arg("co"),
        arg("kh"), arg("kw"), arg("stride_h"), arg("stride_w"));
  m.def("attention", &attention, arg("q"), arg("k"), arg("v"), arg("o"), arg("lse"), arg("heads"),
        arg("scale"));
  m.def("attention_backward", &attention_backward, arg("dy"), arg("q"), arg("k"), arg("v"),
        arg("o"), arg("lse"), arg("dq"), arg("dk"), arg("dv"), arg("heads"), arg("scale"));
}

}  // namespace pydiff::bindings
