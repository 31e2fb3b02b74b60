// empty, empty_like: NumPy arrays whose memory comes from the pool of core/pool.h. They are
// ordinary arrays that own their data; NumPy remembers where to give it back (NEP 49, "data
// allocation strategies"), so they may die on any thread and at any time.
#include "bindings/arguments.h"
#include "core/pool.h"

namespace pydiff::bindings {
namespace {

// ---- the memory handler, laid out as in numpy/ndarraytypes.h since NumPy 1.22

struct Allocator {
  void* context;
  void* (*malloc)(void* context, size_t bytes);
  void* (*calloc)(void* context, size_t count, size_t size);
  void* (*realloc)(void* context, void* data, size_t bytes);
  void (*free)(void* context, void* data, size_t bytes);
};
struct Handler {
  char name[127];
  uint8_t version;
  Allocator allocator;
};

void* take(void*, size_t bytes) { return pool_take(bytes); }
void* take_zeroed(void*, size_t count, size_t size) {
  size_t bytes;
  return __builtin_mul_overflow(count, size, &bytes) ? nullptr : pool_take_zeroed(bytes);
}
void* resize(void*, void* data, size_t bytes) { return pool_resize(data, bytes); }
void give(void*, void* data, size_t) { pool_give(data); }

Handler handler{"pydiff", 1, {nullptr, &take, &take_zeroed, &resize, &give}};

// ---- NumPy's table of functions, whose places never change

using SetHandler = PyObject* (*)(PyObject*);
using FeatureVersion = unsigned (*)();
using NewFromDescr = decltype(py::detail::npy_api::PyArray_NewFromDescr_);

constexpr int kFeatureVersion = 211, kSetHandler = 304;
constexpr unsigned kVersionWithHandlers = 0xf;  // of NumPy 1.22

PyObject* handler_capsule = nullptr;  // null: every array comes from NumPy's own allocator
SetHandler set_handler = nullptr;
NewFromDescr new_from_descr = nullptr;

void find_numpy() {
  new_from_descr = py::detail::npy_api::get().PyArray_NewFromDescr_;
  const py::module_ numpy = py::detail::import_numpy_core_submodule("multiarray");
  const py::object capsule = numpy.attr("_ARRAY_API");
  void** table = static_cast<void**>(PyCapsule_GetPointer(capsule.ptr(), nullptr));
  if (table == nullptr) throw py::error_already_set();
  if (reinterpret_cast<FeatureVersion>(table[kFeatureVersion])() < kVersionWithHandlers) return;
  set_handler = reinterpret_cast<SetHandler>(table[kSetHandler]);
  handler_capsule = PyCapsule_New(&handler, "mem_handler", nullptr);
  if (handler_capsule == nullptr) throw py::error_already_set();
}

// A fresh C-contiguous array; the handler is ours for the moment in which it is made.
PyObject* fresh_array(PyObject* dtype, int ndim, const Py_intptr_t* shape) {
  PyTypeObject* type = py::detail::npy_api::get().PyArray_Type_;
  size_t bytes = static_cast<size_t>(py::reinterpret_borrow<py::dtype>(dtype).itemsize());
  bool pooled = handler_capsule != nullptr;
  for (int i = 0; i < ndim; ++i)
    pooled = pooled && shape[i] >= 0 && !__builtin_mul_overflow(bytes, shape[i], &bytes);
  Py_INCREF(dtype);  // the call takes it over
  if (!pooled || bytes < kPooledBytes)
    return new_from_descr(type, dtype, ndim, shape, nullptr, nullptr, 0, nullptr);
  PyObject* usual = set_handler(handler_capsule);
  if (usual == nullptr) {
    Py_DECREF(dtype);
    return nullptr;
  }
  PyObject* array = new_from_descr(type, dtype, ndim, shape, nullptr, nullptr, 0, nullptr);
  PyObject *error_type, *error, *trace;
  PyErr_Fetch(&error_type, &error, &trace);
  PyObject* ours = set_handler(usual);
  if (ours == nullptr) PyErr_Clear();  // out of memory: ours stays, which serves any array
  Py_XDECREF(ours);
  Py_DECREF(usual);
  PyErr_Restore(error_type, error, trace);
  return array;
}

// Bare functions of Python's C API: pybind11's dispatch would cost more than the allocation.

PyObject* empty(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  constexpr Py_ssize_t kNumpyDims = 32;
  const bool fits = count == 2 && PyTuple_Check(arguments[0]) &&
                    py::isinstance<py::dtype>(arguments[1]) &&
                    PyTuple_GET_SIZE(arguments[0]) <= kNumpyDims;
  if (!fits) {
    PyErr_SetString(PyExc_TypeError, "empty: a tuple of at most 32 sizes and a dtype are needed");
    return nullptr;
  }
  Py_intptr_t shape[kNumpyDims];
  const Py_ssize_t ndim = PyTuple_GET_SIZE(arguments[0]);
  for (Py_ssize_t i = 0; i < ndim; ++i) {
    shape[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(arguments[0], i));
    if (shape[i] == -1 && PyErr_Occurred()) return nullptr;
  }
  return fresh_array(arguments[1], static_cast<int>(ndim), shape);
}

PyObject* empty_like(PyObject*, PyObject* array) {
  if (!py::isinstance<py::array>(array)) {
    PyErr_SetString(PyExc_TypeError, "empty_like: an array is needed");
    return nullptr;
  }
  const auto* header = py::detail::array_proxy(array);
  return fresh_array(header->descr, header->nd, header->dimensions);
}

PyMethodDef functions[] = {
    {"empty", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&empty)), METH_FASTCALL,
     "empty(shape: tuple, dtype: object) -> numpy.ndarray"},
    {"empty_like", &empty_like, METH_O, "empty_like(x: numpy.ndarray) -> numpy.ndarray"},
    {nullptr, nullptr, 0, nullptr},
};

py::dict memory() {
  const PoolUse use = pool_use();
  py::dict result;
  result["lent"] = use.lent;
  result["kept"] = use.kept;
  result["bound"] = use.bound;
  result["fresh"] = use.fresh;
  return result;
}

}  // namespace

void bind_memory(py::module_& m) {
  find_numpy();
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
  m.def("empty_cache", &pool_release, py::call_guard<py::gil_scoped_release>());
  m.def("memory", &memory);
}

}  // namespace pydiff::bindings
