// Checked views of NumPy arrays. Whatever Python hands in, a kernel gets aligned, contiguous,
// native-endian memory of the size that it will touch, or a TypeError or ValueError is raised.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/args.h"
#include "core/call.h"
#include "core/table.h"
#include "plan/recording.h"

namespace pydiff::bindings {

namespace py = pybind11;

enum class Dtype { kFloat32, kFloat64, kInt64, kOther };

void remember_dtypes();  // once, at import
Dtype dtype_of(py::handle array);
bool is_native_float(PyObject* descr);  // NumPy's own float32 or float64

[[noreturn]] void fail_value(const char* op, const std::string& message);
[[noreturn]] void fail_type(const char* op, const std::string& message);

// The array's header, after a check that it is an array of `dtype`; see `Array` for the rest.
enum Flags : int { kRead = 0, kWrite = 1, kStrided = 2 };
const py::detail::PyArray_Proxy* checked_header(const char* op, const char* name, py::handle object,
                                                Dtype dtype, int flags);

template <class T>
constexpr Dtype kDtype = sizeof(T) == 4 ? Dtype::kFloat32 : Dtype::kFloat64;
template <>
inline constexpr Dtype kDtype<int64_t> = Dtype::kInt64;

template <class T>
struct Array {
  const char* name;
  T* data;
  int ndim;
  const ssize_t* shape;
  const ssize_t* strides;  // in bytes
  int64_t size;

  Array(const char* op, const char* name, py::handle object, int flags)
      : name(name), data(nullptr), ndim(0), shape(nullptr), strides(nullptr), size(0) {
    const auto* header = checked_header(op, name, object, kDtype<T>, flags);
    data = reinterpret_cast<T*>(header->data);
    ndim = header->nd;
    shape = header->dimensions;
    strides = header->strides;
    size = 1;
    for (int i = 0; i < ndim; ++i) size *= shape[i];
  }
};

template <class T>
Array<T> input(const char* op, const char* name, py::handle object) {
  return Array<T>(op, name, object, kRead);
}
template <class T>
Array<T> output(const char* op, const char* name, py::handle object) {
  return Array<T>(op, name, object, kWrite);
}
// Rows as `row_stride` takes them
template <class T>
Array<T> input_rows(const char* op, const char* name, py::handle object) {
  return Array<T>(op, name, object, kRead | kStrided);
}
template <class T>
Array<T> output_rows(const char* op, const char* name, py::handle object) {
  return Array<T>(op, name, object, kWrite | kStrided);
}

// Elements from one row to the next of an array whose last axis is contiguous and whose other axes
// step through memory as one: a contiguous array, or some channels of one.
template <class T>
int64_t row_stride(const char* op, const Array<T>& array) {
  const int last = array.ndim - 1;
  const ssize_t item = sizeof(T);
  bool rows = last < 0 || array.shape[last] <= 1 || array.strides[last] == item;
  ssize_t step = 0, spanned = 1;  // bytes per row; rows below the axis
  for (int i = last - 1; rows && i >= 0; --i) {
    if (array.shape[i] == 1) continue;
    if (step == 0) step = array.strides[i];
    rows = array.strides[i] == step * spanned && step > 0;
    spanned *= array.shape[i];
  }
  const int64_t columns = last >= 0 ? array.shape[last] : 0;
  if (array.size == 0) return columns;
  if (!rows || step % item != 0 || (step > 0 && step / item < columns))
    fail_value(op, std::string(array.name) + " must be contiguous, or channels of such an array");
  return step > 0 ? step / item : columns;
}

// "(2, 3)"
std::string shape_text(int ndim, const ssize_t* shape);

template <class T>
void expect_shape(const char* op, const Array<T>& array, std::initializer_list<int64_t> shape) {
  bool same = array.ndim == static_cast<int>(shape.size());
  for (int i = 0; same && i < array.ndim; ++i) same = array.shape[i] == shape.begin()[i];
  if (same) return;
  const ssize_t* wanted = reinterpret_cast<const ssize_t*>(shape.begin());
  fail_value(op, std::string(array.name) + " has shape " + shape_text(array.ndim, array.shape) +
                     ", expected " + shape_text(static_cast<int>(shape.size()), wanted));
}
template <class T, class U>
void expect_same_shape(const char* op, const Array<T>& array, const Array<U>& like) {
  bool same = array.ndim == like.ndim;
  for (int i = 0; same && i < array.ndim; ++i) same = array.shape[i] == like.shape[i];
  if (!same)
    fail_value(op, std::string(array.name) + " has shape " + shape_text(array.ndim, array.shape) +
                       ", expected that of " + like.name + ", " +
                       shape_text(like.ndim, like.shape));
}
template <class T>
void expect_size(const char* op, const Array<T>& array, int64_t size) {
  if (array.size != size)
    fail_value(op, std::string(array.name) + " has " + std::to_string(array.size) +
                       " elements, expected " + std::to_string(size));
}
template <class T>
void expect_ndim(const char* op, const Array<T>& array, int ndim) {
  if (array.ndim != ndim)
    fail_value(op, std::string(array.name) + " has shape " + shape_text(array.ndim, array.shape) +
                       ", expected " + std::to_string(ndim) + " axes");
}
inline void expect(const char* op, bool condition, const char* message) {
  if (!condition) fail_value(op, message);
}

// The data of an array of that size, or null for None
template <class T>
T* optional(const char* op, const char* name, py::handle object, int64_t size, int flags = kRead) {
  if (object.is_none()) return nullptr;
  const Array<T> array(op, name, object, flags);
  expect_size(op, array, size);
  return array.data;
}
template <class T>
T* optional_output(const char* op, const char* name, py::handle object, int64_t size) {
  return optional<T>(op, name, object, size, kWrite);
}

inline Activation activation(const char* op, int act) {
  expect(op, act == kNone || act == kSilu, "act must be 0 (none) or 1 (silu)");
  return static_cast<Activation>(act);
}

// The product of sizes, which must be non-negative and fit 64 bits.
int64_t checked_product(const char* op, std::initializer_list<int64_t> sizes);

// body(float()) or body(double()), by the dtype of `first`
template <class F>
void with_dtype(const char* op, const char* name, py::handle first, const F& body) {
  switch (dtype_of(first)) {
    case Dtype::kFloat32:
      return body(float());
    case Dtype::kFloat64:
      return body(double());
    default:
      fail_type(op, std::string(name) + " must be a float32 or float64 array");
  }
}

// Releases the GIL for the life of one kernel call. On the main thread, Ctrl-C cancels the kernel.
class KernelCall {
 public:
  KernelCall();
  ~KernelCall();
  KernelCall(const KernelCall&) = delete;
  KernelCall& operator=(const KernelCall&) = delete;
  bool cancelled() const { return call_.cancelled(); }

 private:
  static bool poll(void* self);
  PyThreadState* state_;
  Call call_;
};

// body() as one kernel call; KeyboardInterrupt where that was cancelled.
template <class F>
void as_kernel_call(const F& body) {
  bool cancelled;
  {
    const KernelCall call;
    body();
    cancelled = call.cancelled();
  }
  if (cancelled) throw py::error_already_set();
}

// Calls the kernel, or writes the call down where this thread is recording a plan.
template <template <class> class Args, class T>
void run(const Kernel<Args>& kernel, const Args<T>& args) {
  if (Recording* recording = Recording::current()) return recording->add(kernel, args);
  as_kernel_call([&] { kernel(args); });
}

void bind_elementwise(py::module_& m);
void bind_array_kernels(py::module_& m);
void bind_products(py::module_& m);
void bind_norms(py::module_& m);
void bind_plan(py::module_& m);
void bind_memory(py::module_& m);
void bind_optim(py::module_& m);

}  // namespace pydiff::bindings
