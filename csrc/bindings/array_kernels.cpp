// Reductions, softmax, resampling, copies, rows by index, embeddings of times and random numbers.
#include <cstring>

#include "bindings/arguments.h"
#include "core/layout.h"
#include "core/parallel.h"

namespace pydiff::bindings {
namespace {

void reduce(const char* op, Kernel<ReduceArgs> KernelTable::* kernel, py::handle x_, py::handle y_,
            int64_t outer, int64_t n, int64_t inner, double scale) {
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto y = output<T>(op, "y", y_);
    expect_size(op, x, checked_product(op, {outer, n, inner}));
    expect_size(op, y, checked_product(op, {outer, inner}));
    if (y.size == 0) return;
    run(table().*kernel, ReduceArgs<T>{x.data, y.data, outer, n, inner, static_cast<T>(scale)});
  });
}

void sum(py::handle x, py::handle y, int64_t outer, int64_t n, int64_t inner, double scale) {
  reduce("sum", &KernelTable::sum, x, y, outer, n, inner, scale);
}

void max(py::handle x, py::handle y, int64_t outer, int64_t n, int64_t inner) {
  expect("max", n != 0, "the maximum of no elements is undefined");
  reduce("max", &KernelTable::max, x, y, outer, n, inner, 1);
}

void max_backward(py::handle dy_, py::handle x_, py::handle y_, py::handle dx_, int64_t outer,
                  int64_t n, int64_t inner) {
  const char* op = "max_backward";
  with_dtype(op, "dy", dy_, [&](auto tag) {
    using T = decltype(tag);
    const auto dy = input<T>(op, "dy", dy_), x = input<T>(op, "x", x_), y = input<T>(op, "y", y_);
    const auto dx = output<T>(op, "dx", dx_);
    expect_size(op, x, checked_product(op, {outer, n, inner}));
    expect_size(op, dx, x.size);
    expect_size(op, y, checked_product(op, {outer, inner}));
    expect_size(op, dy, y.size);
    if (dx.size == 0) return;
    run(table().max_backward,
        ReduceBackwardArgs<T>{dy.data, x.data, y.data, dx.data, outer, n, inner});
  });
}

void squared_error(py::handle a_, py::handle b_, py::handle y_, double scale) {
  const char* op = "squared_error";
  with_dtype(op, "a", a_, [&](auto tag) {
    using T = decltype(tag);
    const auto a = input<T>(op, "a", a_), b = input<T>(op, "b", b_), y = output<T>(op, "y", y_);
    expect_same_shape(op, b, a);
    expect_size(op, y, 1);
    run(table().squared_error,
        BinaryReduceArgs<T>{a.data, b.data, y.data, a.size, static_cast<T>(scale)});
  });
}

// Rows along the last axis
template <class T>
int64_t row_length(const char* op, const Array<T>& x) {
  expect(op, x.ndim > 0, "x needs at least one axis");
  return x.shape[x.ndim - 1];
}

void softmax(py::handle x_, py::handle y_) {
  const char* op = "softmax";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto y = output<T>(op, "y", y_);
    expect_same_shape(op, y, x);
    const int64_t n = row_length(op, x);
    if (x.size == 0) return;
    run(table().softmax, RowArgs<T>{x.data, y.data, x.size / n, n});
  });
}

void softmax_backward(py::handle dy_, py::handle y_, py::handle dx_) {
  const char* op = "softmax_backward";
  with_dtype(op, "dy", dy_, [&](auto tag) {
    using T = decltype(tag);
    const auto dy = input<T>(op, "dy", dy_), y = input<T>(op, "y", y_);
    const auto dx = output<T>(op, "dx", dx_);
    expect_same_shape(op, y, dy);
    expect_same_shape(op, dx, dy);
    const int64_t n = row_length(op, dy);
    if (dy.size == 0) return;
    run(table().softmax_backward, RowBackwardArgs<T>{dy.data, y.data, dx.data, dy.size / n, n});
  });
}

// small (n, h, w, c), large (n, h f, w f, c)
template <class T>
ResampleArgs<T> resample_args(const char* op, const Array<T>& small, const Array<T>& large,
                              int64_t factor, double scale) {
  expect_ndim(op, small, 4);
  expect(op, factor >= 1, "factor must be at least 1");
  const int64_t n = small.shape[0], h = small.shape[1], w = small.shape[2], c = small.shape[3];
  expect_shape(op, large,
               {n, checked_product(op, {h, factor}), checked_product(op, {w, factor}), c});
  return {nullptr, nullptr, n, h, w, c, factor, static_cast<T>(scale)};
}

void upsample_nearest(py::handle x_, py::handle y_, int64_t factor, double scale) {
  const char* op = "upsample_nearest";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto y = output<T>(op, "y", y_);
    ResampleArgs<T> args = resample_args(op, x, y, factor, scale);
    args.x = x.data;
    args.y = y.data;
    if (y.size > 0) run(table().upsample_nearest, args);
  });
}

void sum_pool(py::handle x_, py::handle y_, int64_t factor, double scale) {
  const char* op = "sum_pool";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto y = output<T>(op, "y", y_);
    ResampleArgs<T> args = resample_args(op, y, x, factor, scale);
    args.x = x.data;
    args.y = y.data;
    if (y.size > 0) run(table().sum_pool, args);
  });
}

template <class T>
void element_strides(const char* op, const Array<T>& array, int64_t* strides) {
  for (int i = 0; i < array.ndim; ++i) {
    strides[i] = array.strides[i] / ssize_t{sizeof(T)};
    if (array.strides[i] % ssize_t{sizeof(T)} != 0)
      fail_value(op, std::string(array.name) + " has strides that split its elements");
  }
}

// The only kernel that takes views: x and y of one shape, any strides.
void strided_copy(py::handle x_, py::handle y_) {
  const char* op = "strided_copy";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    constexpr int kNumpyDims = 64;
    const Array<T> x(op, "x", x_, kRead | kStrided), y(op, "y", y_, kWrite | kStrided);
    expect_same_shape(op, y, x);
    int64_t shape[kNumpyDims], x_strides[kNumpyDims], y_strides[kNumpyDims];
    for (int i = 0; i < y.ndim; ++i) shape[i] = y.shape[i];
    element_strides(op, x, x_strides);
    element_strides(op, y, y_strides);
    if (y.size == 0) return;
    int64_t* const strides[] = {x_strides, y_strides};
    sort_axes(y.ndim, shape, 2, strides);
    const int ndim = collapse(y.ndim, shape, 2, strides);
    if (ndim > kMaxDims) fail_value(op, "more than 8 axes remain after merging");
    CopyArgs<T> args{x.data, y.data, ndim, {}, {}, {}};
    for (int i = 0; i < ndim; ++i) {
      args.shape[i] = shape[i];
      args.x_strides[i] = x_strides[i];
      args.y_strides[i] = y_strides[i];
    }
    run(table().strided_copy, args);
  });
}

// A checked copy: another thread may change the array while the kernel reads its indices.
class Indices {
 public:
  Indices(const char* op, const Array<int64_t>& index, int64_t rows)
      : scratch_(checked_bytes(index.size, sizeof(int64_t))) {
    int64_t* to = scratch_.as<int64_t>();
    if (index.size > 0) std::memcpy(to, index.data, index.size * sizeof(int64_t));
    for (int64_t i = 0; i < index.size; ++i)
      if (to[i] < 0 || to[i] >= rows)
        fail_value(op, "index " + std::to_string(to[i]) + " at position " + std::to_string(i) +
                           " is outside [0, " + std::to_string(rows) + ")");
  }
  const int64_t* data() const { return scratch_.as<int64_t>(); }

 private:
  Scratch scratch_;
};

void gather(py::handle x_, py::handle index_, py::handle y_) {
  const char* op = "gather";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto index = input<int64_t>(op, "index", index_);
    const auto y = output<T>(op, "y", y_);
    expect_ndim(op, x, 2);
    expect_shape(op, y, {index.size, x.shape[1]});
    GatherArgs<T> args{x.data, index.data, y.data, index.size, x.shape[0], x.shape[1]};
    if (Recording::current() != nullptr) return run(table().gather, args);  // a plan checks later
    const Indices checked(op, index, x.shape[0]);
    args.index = checked.data();
    run(table().gather, args);
  });
}

void scatter_add(py::handle x_, py::handle index_, py::handle y_) {
  const char* op = "scatter_add";
  with_dtype(op, "x", x_, [&](auto tag) {
    using T = decltype(tag);
    const auto x = input<T>(op, "x", x_);
    const auto index = input<int64_t>(op, "index", index_);
    const auto y = output<T>(op, "y", y_);
    expect_ndim(op, y, 2);
    expect_shape(op, x, {index.size, y.shape[1]});
    const Indices checked(op, index, y.shape[0]);
    if (y.size == 0) return;
    run(table().scatter_add,
        GatherArgs<T>{x.data, checked.data(), y.data, index.size, y.shape[0], y.shape[1]});
  });
}

void sinusoids(py::handle t_, py::handle frequency_, py::handle y_, bool cosine_first) {
  const char* op = "sinusoids";
  with_dtype(op, "y", y_, [&](auto tag) {
    using T = decltype(tag);
    const auto t = input<float>(op, "t", t_), frequency = input<float>(op, "frequency", frequency_);
    const auto y = output<T>(op, "y", y_);
    expect_ndim(op, y, 2);
    expect_shape(op, t, {y.shape[0]});
    expect_shape(op, frequency, {y.shape[1] / 2});
    run(table().sinusoids,
        SinusoidArgs<T>{t.data, frequency.data, y.data, y.shape[0], y.shape[1], cosine_first});
  });
}

// A float32 or float64 array that is read: one of the two pointers is null.
struct Reals {
  const float* f32 = nullptr;
  const double* f64 = nullptr;
  int64_t size = 0;

  Reals(const char* op, const char* name, py::handle array) {
    with_dtype(op, name, array, [&](auto tag) {
      const auto checked = input<decltype(tag)>(op, name, array);
      if constexpr (sizeof(tag) == 4)
        f32 = checked.data;
      else
        f64 = checked.data;
      size = checked.size;
    });
  }
};

void fourier(py::handle t_, py::handle weight_, py::handle y_) {
  const char* op = "fourier";
  with_dtype(op, "weight", weight_, [&](auto tag) {
    using T = decltype(tag);
    const Reals t(op, "t", t_);
    const auto weight = input<T>(op, "weight", weight_), y = output<T>(op, "y", y_);
    expect_shape(op, y, {t.size, checked_product(op, {2, weight.size})});
    run(table().fourier, FourierArgs<T>{t.f32, t.f64, weight.data, y.data, t.size, weight.size});
  });
}

void cast(py::handle x_, py::handle y_) {
  const char* op = "cast";
  with_dtype(op, "y", y_, [&](auto tag) {
    using T = decltype(tag);
    const Reals x(op, "x", x_);
    const auto y = output<T>(op, "y", y_);
    expect_size(op, y, x.size);
    run(table().cast, CastArgs<T>{x.f32, x.f64, y.data, x.size});
  });
}

void random(const char* op, Kernel<RandomArgs> KernelTable::* kernel, py::handle y_, uint64_t seed,
            uint32_t first_image, uint32_t step, uint32_t stream) {
  with_dtype(op, "y", y_, [&](auto tag) {
    using T = decltype(tag);
    const auto y = output<T>(op, "y", y_);
    expect_ndim(op, y, 2);
    constexpr int64_t kWords = int64_t{1} << 32;
    expect(op, y.shape[0] <= kWords - first_image, "image indices exceed 32 bits");
    expect(op, y.shape[1] <= 4 * kWords, "more than 2^34 elements in one image");
    if (y.size == 0) return;
    run(table().*kernel,
        RandomArgs<T>{y.data, y.shape[0], y.shape[1], seed, first_image, step, stream});
  });
}

// y (tasks,): one task each; returns the floating-point operations done
int64_t fma_peak(py::handle y_, int64_t iterations) {
  const char* op = "fma_peak";
  expect(op, iterations >= 0 && iterations < (int64_t{1} << 40), "iterations: 0 to 2^40");
  int64_t flops = 0;
  with_dtype(op, "y", y_, [&](auto tag) {
    using T = decltype(tag);
    const auto y = output<T>(op, "y", y_);
    run(table().fma_peak, PeakArgs<T>{y.data, &flops, y.size, iterations});
  });
  return flops;
}

}  // namespace

void bind_array_kernels(py::module_& m) {
  using py::arg;
  m.def("sum", &sum, arg("x"), arg("y"), arg("outer"), arg("n"), arg("inner"), arg("scale"));
  m.def("max", &max, arg("x"), arg("y"), arg("outer"), arg("n"), arg("inner"));
  m.def("max_backward", &max_backward, arg("dy"), arg("x"), arg("y"), arg("dx"), arg("outer"),
        arg("n"), arg("inner"));
  m.def("squared_error", &squared_error, arg("a"), arg("b"), arg("y"), arg("scale"));
  m.def("softmax", &softmax, arg("x"), arg("y"));
  m.def("softmax_backward", &softmax_backward, arg("dy"), arg("y"), arg("dx"));
  m.def("upsample_nearest", &upsample_nearest, arg("x"), arg("y"), arg("factor"), arg("scale"));
  m.def("sum_pool", &sum_pool, arg("x"), arg("y"), arg("factor"), arg("scale"));
  m.def("strided_copy", &strided_copy, arg("x"), arg("y"));
  m.def("gather", &gather, arg("x"), arg("index"), arg("y"));
  m.def("fma_peak", &fma_peak, arg("y"), arg("iterations"));
  m.def("scatter_add", &scatter_add, arg("x"), arg("index"), arg("y"));
  m.def("sinusoids", &sinusoids, arg("t"), arg("frequency"), arg("y"), arg("cosine_first"));
  m.def("fourier", &fourier, arg("t"), arg("weight"), arg("y"));
  m.def("cast", &cast, arg("x"), arg("y"));
  m.def(
      "uniform",
      [](py::handle y, uint64_t seed, uint32_t first_image, uint32_t step, uint32_t stream) {
        random("uniform", &KernelTable::uniform, y, seed, first_image, step, stream);
      },
      arg("y"), arg("seed"), arg("first_image"), arg("step"), arg("stream"));
  m.def(
      "normal",
      [](py::handle y, uint64_t seed, uint32_t first_image, uint32_t step, uint32_t stream) {
        random("normal", &KernelTable::normal, y, seed, first_image, step, stream);
      },
      arg("y"), arg("seed"), arg("first_image"), arg("step"), arg("stream"));
}

}  // namespace pydiff::bindings
