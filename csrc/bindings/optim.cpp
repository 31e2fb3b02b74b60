// adamw, ema, sum_of_squares, linear_combination: lists of arrays, all of one dtype, in one call.
#include <vector>

#include "bindings/arguments.h"

namespace pydiff::bindings {
namespace {

// The arrays of an argument, `count` of them; the tuple holds them while the GIL is released.
py::tuple arrays(const char* op, const char* name, py::handle list, size_t count) {
  if (!PyList_Check(list.ptr()) && !PyTuple_Check(list.ptr()))
    fail_type(op, std::string(name) + " must be a list of arrays");
  const auto held = py::reinterpret_steal<py::tuple>(PySequence_Tuple(list.ptr()));
  if (!held) throw py::error_already_set();
  if (held.size() != count)
    fail_value(op, std::string(name) + " has " + std::to_string(held.size()) +
                       " arrays, expected " + std::to_string(count));
  return held;
}

size_t length(const char* op, const char* name, py::handle list) {
  if (!PyList_Check(list.ptr()) && !PyTuple_Check(list.ptr()))
    fail_type(op, std::string(name) + " must be a list of arrays");
  return static_cast<size_t>(PySequence_Size(list.ptr()));
}

py::handle item(const py::tuple& held, size_t i) {
  return PyTuple_GET_ITEM(held.ptr(), static_cast<Py_ssize_t>(i));
}

// body(float()) or body(double()), by the first array; nothing to do without one
template <class F>
void with_first_dtype(const char* op, const char* name, const py::tuple& held, const F& body) {
  if (held.size() > 0) with_dtype(op, name, item(held, 0), body);
}

void adamw(py::handle p_, py::handle g_, py::handle m_, py::handle v_, py::handle e_, double lr,
           double beta1, double beta2, double eps, double weight_decay, int64_t step, double scale,
           double decay) {
  const char* op = "adamw";
  expect(op, step >= 1, "step counts from 1");
  const size_t count = length(op, "p", p_);
  const py::tuple ps = arrays(op, "p", p_, count), gs = arrays(op, "g", g_, count);
  const py::tuple ms = arrays(op, "m", m_, count), vs = arrays(op, "v", v_, count);
  const py::tuple es = e_.is_none() ? py::tuple() : arrays(op, "e", e_, count);
  with_first_dtype(op, "p", ps, [&](auto tag) {
    using T = decltype(tag);
    std::vector<AdamWItem<T>> items(count);
    for (size_t i = 0; i < count; ++i) {
      const auto p = output<T>(op, "p", item(ps, i)), m = output<T>(op, "m", item(ms, i));
      const auto v = output<T>(op, "v", item(vs, i));
      const auto g = input<T>(op, "g", item(gs, i));
      expect_same_shape(op, g, p);
      expect_same_shape(op, m, p);
      expect_same_shape(op, v, p);
      items[i] = {p.data, g.data, m.data, v.data, nullptr, p.size};
      if (e_.is_none()) continue;
      const auto e = output<T>(op, "e", item(es, i));
      expect_same_shape(op, e, p);
      items[i].e = e.data;
    }
    run(table().adamw, AdamWArgs<T>{items.data(), static_cast<int64_t>(count), lr, beta1, beta2,
                                    eps, weight_decay, step, scale, decay});
  });
}

void ema(py::handle e_, py::handle p_, double decay) {
  const char* op = "ema";
  const size_t count = length(op, "e", e_);
  const py::tuple es = arrays(op, "e", e_, count), ps = arrays(op, "p", p_, count);
  with_first_dtype(op, "e", es, [&](auto tag) {
    using T = decltype(tag);
    std::vector<EmaItem<T>> items(count);
    for (size_t i = 0; i < count; ++i) {
      const auto e = output<T>(op, "e", item(es, i));
      const auto p = input<T>(op, "p", item(ps, i));
      expect_same_shape(op, p, e);
      items[i] = {e.data, p.data, e.size};
    }
    run(table().ema, EmaArgs<T>{items.data(), static_cast<int64_t>(count), decay});
  });
}

double sum_of_squares(py::handle x_) {
  const char* op = "sum_of_squares";
  const size_t count = length(op, "x", x_);
  const py::tuple xs = arrays(op, "x", x_, count);
  double y = 0;
  with_first_dtype(op, "x", xs, [&](auto tag) {
    using T = decltype(tag);
    std::vector<SquaresItem<T>> items(count);
    for (size_t i = 0; i < count; ++i) {
      const auto x = input<T>(op, "x", item(xs, i));
      items[i] = {x.data, x.size};
    }
    run(table().sum_of_squares, SquaresArgs<T>{items.data(), &y, static_cast<int64_t>(count)});
  });
  return y;
}

// The coefficients (terms, images): an array, or a list of one number per term for all images.
struct Coefficients {
  Coefficients(const char* op, py::handle c, size_t terms) {
    if (PyList_Check(c.ptr())) {
      for (const py::handle number : py::reinterpret_borrow<py::list>(c)) {
        held.push_back(PyFloat_AsDouble(number.ptr()));
        if (PyErr_Occurred()) throw py::error_already_set();
      }
      expect(op, held.size() == terms, "c must hold one number per term");
      data = held.data();
      return;
    }
    const auto array = input<double>(op, "c", c);
    expect(op, array.ndim == 2 && array.shape[0] == static_cast<int64_t>(terms),
           "c must be (terms, images)");
    data = array.data;
    images = array.shape[1];
  }

  std::vector<double> held;
  const double* data = nullptr;
  int64_t images = 1;
};

// Images are the rows of y.
void linear_combination(py::handle x_, py::handle c_, py::handle y_) {
  const char* op = "linear_combination";
  const size_t count = length(op, "x", x_);
  expect(op, count > 0, "x is empty");
  const py::tuple xs = arrays(op, "x", x_, count);
  const Coefficients c(op, c_, count);
  with_first_dtype(op, "x", xs, [&](auto tag) {
    using T = decltype(tag);
    const auto y = output<T>(op, "y", y_);
    const bool fits = c.images == 1 || (y.ndim > 0 && y.shape[0] == c.images);
    expect(op, fits, "c must be (terms, images)");
    std::vector<const T*> x(count);
    for (size_t i = 0; i < count; ++i) {
      const auto term = input<T>(op, "x", item(xs, i));
      expect_same_shape(op, term, y);
      x[i] = term.data;
    }
    if (y.size == 0) return;
    run(table().linear_combination,
        CombineArgs<T>{x.data(), c.data, y.data, static_cast<int64_t>(count), c.images,
                       y.size / c.images});
  });
}

}  // namespace

void bind_optim(py::module_& m) {
  using py::arg;
  m.def("adamw", &adamw, arg("p"), arg("g"), arg("m"), arg("v"), arg("e"), arg("lr"), arg("beta1"),
        arg("beta2"), arg("eps"), arg("weight_decay"), arg("step"), arg("scale"), arg("decay"));
  m.def("ema", &ema, arg("e"), arg("p"), arg("decay"));
  m.def("sum_of_squares", &sum_of_squares, arg("x"));
  m.def("linear_combination", &linear_combination, arg("x"), arg("c"), arg("y"));
}

}  // namespace pydiff::bindings
