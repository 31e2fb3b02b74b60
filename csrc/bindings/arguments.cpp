#include "bindings/arguments.h"

#include "core/parallel.h"

namespace pydiff::bindings {
namespace {

PyObject* float32_descr = nullptr;  // NumPy's singletons; foreign copies take the slow path
PyObject* float64_descr = nullptr;
PyObject* int64_descr = nullptr;
unsigned long main_thread = 0;

constexpr int kAligned = 0x0100;

Dtype compare_slowly(PyObject* descr) {
  const auto dtype = py::reinterpret_borrow<py::dtype>(descr);
  if (dtype.byteorder() != '=') return Dtype::kOther;
  if (dtype.kind() == 'f' && dtype.itemsize() == 4) return Dtype::kFloat32;
  if (dtype.kind() == 'f' && dtype.itemsize() == 8) return Dtype::kFloat64;
  if (dtype.kind() == 'i' && dtype.itemsize() == 8) return Dtype::kInt64;
  return Dtype::kOther;
}

const char* dtype_name(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? "float32" : dtype == Dtype::kFloat64 ? "float64" : "int64";
}

}  // namespace

void remember_dtypes() {
  float32_descr = py::dtype::of<float>().release().ptr();
  float64_descr = py::dtype::of<double>().release().ptr();
  int64_descr = py::dtype::of<int64_t>().release().ptr();
  main_thread =
      py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
}

Dtype dtype_of(py::handle array) {
  if (!py::isinstance<py::array>(array)) return Dtype::kOther;
  PyObject* descr = py::detail::array_proxy(array.ptr())->descr;
  if (descr == float32_descr) return Dtype::kFloat32;
  if (descr == float64_descr) return Dtype::kFloat64;
  if (descr == int64_descr) return Dtype::kInt64;
  return compare_slowly(descr);
}

bool is_native_float(PyObject* descr) { return descr == float32_descr || descr == float64_descr; }

void fail_value(const char* op, const std::string& message) {
  throw py::value_error(std::string(op) + ": " + message);
}
void fail_type(const char* op, const std::string& message) {
  throw py::type_error(std::string(op) + ": " + message);
}

const py::detail::PyArray_Proxy* checked_header(const char* op, const char* name, py::handle object,
                                                Dtype dtype, int flags) {
  if (dtype_of(object) != dtype)
    fail_type(op, std::string(name) + " must be a native-endian " + dtype_name(dtype) + " array");
  const auto* header = py::detail::array_proxy(object.ptr());
  const int needed = kAligned | (flags & kStrided ? 0 : py::array::c_style) |
                     (flags & kWrite ? py::detail::npy_api::NPY_ARRAY_WRITEABLE_ : 0);
  if ((header->flags & needed) != needed)
    fail_value(op, std::string(name) + " must be aligned" +
                       (flags & kStrided ? "" : ", C-contiguous") +
                       (flags & kWrite ? " and writable" : ""));
  return header;
}

std::string shape_text(int ndim, const ssize_t* shape) {
  std::string text = "(";
  for (int i = 0; i < ndim; ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (ndim == 1 ? ",)" : ")");
}

int64_t checked_product(const char* op, std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  for (const int64_t size : sizes)
    if (size < 0 || __builtin_mul_overflow(product, size, &product))
      fail_value(op, "a size is negative or too large");
  return product;
}

KernelCall::KernelCall()
    : state_(nullptr),
      call_(PyThread_get_thread_ident() == main_thread ? &KernelCall::poll : nullptr, this) {
  state_ = PyEval_SaveThread();
}

KernelCall::~KernelCall() { PyEval_RestoreThread(state_); }

bool KernelCall::poll(void* self) {
  auto* call = static_cast<KernelCall*>(self);
  PyEval_RestoreThread(call->state_);
  const bool interrupted = PyErr_CheckSignals() != 0;
  call->state_ = PyEval_SaveThread();
  return interrupted;
}

}  // namespace pydiff::bindings
