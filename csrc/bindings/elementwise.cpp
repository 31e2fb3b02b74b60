// exp ... gelu_tanh, add ... divide and the gradients of the activations.
#include "bindings/arguments.h"
#include "core/layout.h"

namespace pydiff::bindings {
namespace {

void unary(const char* op, Kernel<UnaryArgs> KernelTable::* kernel, py::handle x_, py::handle y_) {
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto y = output<T>(op, "y", y_);
    expect_same_shape(op, y, x);
    run(table().*kernel, UnaryArgs<T>{x.data, y.data, x.size});
  });
}

// dy, saved -> dx of one shape
void gradient(const char* op, Kernel<BinaryArgs> KernelTable::* kernel, py::handle dy_,
              py::handle saved_, py::handle dx_) {
  with_dtype(op, "dy", dy_, [&](auto tag) {
    using T = decltype(tag);
    const auto dy = input<T>(op, "dy", dy_), saved = input<T>(op, "saved", saved_);
    const auto dx = output<T>(op, "dx", dx_);
    expect_same_shape(op, saved, dy);
    expect_same_shape(op, dx, dy);
    run(table().*kernel, BinaryArgs<T>{dy.data, saved.data, dx.data, 1, {dx.size}, {1}, {1}});
  });
}

constexpr int kNumpyDims = 64;

// Element strides with which `array` broadcasts to the shape of `like`
template <class T>
void broadcast_strides(const char* op, const Array<T>& array, const Array<T>& like,
                       int64_t* strides) {
  const int missing = like.ndim - array.ndim;
  bool fits = missing >= 0;
  for (int i = 0; fits && i < like.ndim; ++i) {
    const int64_t length = i < missing ? 1 : array.shape[i - missing];
    fits = length == like.shape[i] || length == 1;
    const int64_t bytes = i < missing || length == 1 ? 0 : array.strides[i - missing];
    strides[i] = bytes / int64_t{sizeof(T)};
    if (bytes % int64_t{sizeof(T)} != 0)
      fail_value(op, std::string(array.name) + " has strides that split its elements");
  }
  if (!fits)
    fail_value(op, std::string(array.name) + " has shape " + shape_text(array.ndim, array.shape) +
                       ", which does not broadcast to " + shape_text(like.ndim, like.shape));
}

// Rows, such as a slice of the channels, may lie apart; the elements of one may not.
template <class T>
void expect_unit_steps(const char* op, const Array<T>& array, int64_t step) {
  if (step != 0 && step != 1)
    fail_value(op, std::string(array.name) + " must be contiguous along its last axis");
}

void binary(const char* op, Kernel<BinaryArgs> KernelTable::* kernel, py::handle a_, py::handle b_,
            py::handle y_) {
  with_dtype(op, "a", a_, [&](auto tag) {
    using T = decltype(tag);
    const Array<T> a(op, "a", a_, kRead | kStrided), b(op, "b", b_, kRead | kStrided);
    const auto y = output<T>(op, "y", y_);
    int64_t shape[kNumpyDims], a_strides[kNumpyDims], b_strides[kNumpyDims];
    for (int i = 0; i < y.ndim; ++i) shape[i] = y.shape[i];
    broadcast_strides(op, a, y, a_strides);
    broadcast_strides(op, b, y, b_strides);
    if (y.size == 0) return;
    int64_t* const strides[] = {a_strides, b_strides};
    const int ndim = collapse(y.ndim, shape, 2, strides);
    if (ndim > kMaxDims) fail_value(op, "more than 8 axes remain after merging");
    expect_unit_steps(op, a, a_strides[ndim - 1]);
    expect_unit_steps(op, b, b_strides[ndim - 1]);
    BinaryArgs<T> args{a.data, b.data, y.data, ndim, {}, {}, {}};
    for (int i = 0; i < ndim; ++i) {
      args.shape[i] = shape[i];
      args.a_strides[i] = a_strides[i];
      args.b_strides[i] = b_strides[i];
    }
    run(table().*kernel, args);
  });
}

}  // namespace

#define PYDIFF_UNARY(name)                                                               \
  m.def(                                                                                 \
      #name, [](py::handle x, py::handle y) { unary(#name, &KernelTable::name, x, y); }, \
      py::arg("x"), py::arg("y"));
#define PYDIFF_GRADIENT(name)                               \
  m.def(                                                    \
      #name,                                                \
      [](py::handle dy, py::handle saved, py::handle dx) {  \
        gradient(#name, &KernelTable::name, dy, saved, dx); \
      },                                                    \
      py::arg("dy"), py::arg("saved"), py::arg("dx"));
#define PYDIFF_BINARY(name)                          \
  m.def(                                             \
      #name,                                         \
      [](py::handle a, py::handle b, py::handle y) { \
        binary(#name, &KernelTable::name, a, b, y);  \
      },                                             \
      py::arg("a"), py::arg("b"), py::arg("y"));

void bind_elementwise(py::module_& m) {
  PYDIFF_UNARY(exp)
  PYDIFF_UNARY(log)
  PYDIFF_UNARY(sqrt)
  PYDIFF_UNARY(sigmoid)
  PYDIFF_UNARY(tanh)
  PYDIFF_UNARY(relu)
  PYDIFF_UNARY(silu)
  PYDIFF_UNARY(gelu)
  PYDIFF_UNARY(gelu_tanh)
  PYDIFF_BINARY(add)
  PYDIFF_BINARY(subtract)
  PYDIFF_BINARY(multiply)
  PYDIFF_BINARY(divide)
  PYDIFF_GRADIENT(sigmoid_backward)
  PYDIFF_GRADIENT(tanh_backward)
  PYDIFF_GRADIENT(relu_backward)
  PYDIFF_GRADIENT(silu_backward)
  PYDIFF_GRADIENT(gelu_backward)
  PYDIFF_GRADIENT(gelu_tanh_backward)
}

}  // namespace pydiff::bindings
