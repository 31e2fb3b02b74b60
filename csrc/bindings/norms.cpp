// Group norm and layer norm.
#include <algorithm>

#include "bindings/arguments.h"

namespace pydiff::bindings {
namespace {

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

void group_norm(py::handle x_, py::handle weight_, py::handle bias_, py::handle y_,
                py::handle mean_, py::handle rstd_, int64_t groups, double eps, int act) {
  const char* op = "group_norm";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input_rows<T>(op, "x", x_), y = output_rows<T>(op, "y", y_);
    const auto [n, s, c] = channels_of(op, x, groups);
    expect_same_shape(op, y, x);
    const int64_t statistics = checked_product(op, {n, groups});
    T* mean = optional_output<T>(op, "mean", mean_, statistics);
    T* rstd = optional_output<T>(op, "rstd", rstd_, statistics);
    const T* weight = optional<T>(op, "weight", weight_, c);
    const T* bias = optional<T>(op, "bias", bias_, c);
    const Activation f = activation(op, act);
    if (x.size == 0) {
      if (mean != nullptr) std::fill_n(mean, statistics, T(0));
      if (rstd != nullptr) std::fill_n(rstd, statistics, T(0));
      return;
    }
    run(table().group_norm, GroupNormArgs<T>{x.data, weight, bias, y.data, mean, rstd, n, s, c,
                                             groups, row_stride(op, x), row_stride(op, y), eps, f});
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
    const auto y = output<T>(op, "y", y_);
    const int64_t c = last_axis(op, x), rows = c > 0 ? x.size / c : 0;
    expect_same_shape(op, y, x);
    const T* weight = optional<T>(op, "weight", weight_, c);
    const T* bias = optional<T>(op, "bias", bias_, c);
    if (x.size == 0) return;
    T* mean = optional_output<T>(op, "mean", mean_, rows);
    T* rstd = optional_output<T>(op, "rstd", rstd_, rows);
    run(table().layer_norm,
        LayerNormArgs<T>{x.data, weight, bias, y.data, mean, rstd, rows, c, eps});
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

}  // namespace

void bind_norms(py::module_& m) {
  using py::arg;
  m.def("group_norm", &group_norm, arg("x"), arg("weight"), arg("bias"), arg("y"), arg("mean"),
        arg("rstd"), arg("groups"), arg("eps"), arg("act"));
  m.def("group_norm_backward", &group_norm_backward, arg("dy"), arg("x"), arg("weight"),
        arg("bias"), arg("mean"), arg("rstd"), arg("dx"), arg("dweight"), arg("dbias"),
        arg("groups"), arg("act"));
  m.def("layer_norm", &layer_norm, arg("x"), arg("weight"), arg("bias"), arg("y"), arg("mean"),
        arg("rstd"), arg("eps"));
  m.def("layer_norm_backward", &layer_norm_backward, arg("dy"), arg("x"), arg("weight"),
        arg("mean"), arg("rstd"), arg("dx"), arg("dweight"), arg("dbias"));
}

}  // namespace pydiff::bindings
