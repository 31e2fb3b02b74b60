// The module pydiff._native: kernels, settings, and a fingerprint of arrays.
#include <algorithm>
#include <cstring>

#include "bindings/arguments.h"
#include "core/parallel.h"

namespace pydiff::bindings {
namespace {

constexpr int64_t kHashedWhole = 16384;  // bytes up to which every element counts
constexpr int64_t kSamples = 128;        // elements that count in a larger array

constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;

uint64_t fold(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Words 0 .. count - 1, two to a multiplication (as wyhash does), in chains that overlap
template <class F>
uint64_t hash_words(uint64_t seed, int64_t count, const F& word) {
  constexpr int chains = 8;
  uint64_t hash[chains];
  for (int j = 0; j < chains; ++j) hash[j] = seed ^ (kOdd << j);
  int64_t i = 0;
  for (; i + 2 * chains <= count; i += 2 * chains) {
#pragma GCC unroll 8
    for (int j = 0; j < chains; ++j)
      hash[j] = fold(hash[j] ^ word(i + 2 * j), kOdd ^ word(i + 2 * j + 1));
  }
  for (; i < count; ++i) hash[0] = fold(hash[0] ^ word(i), kOdd);
  for (int j = 1; j < chains; ++j) hash[0] = fold(hash[0] ^ hash[j], kOdd);
  return hash[0];
}

uint64_t word_at(const char* p, int64_t bytes) {
  uint64_t word = 0;
  std::memcpy(&word, p, static_cast<size_t>(bytes < 8 ? bytes : 8));
  return word;
}

// Byte offset of element `index`, in C order, of any strided array
int64_t offset_of(const py::array& array, int64_t index) {
  int64_t offset = 0;
  for (py::ssize_t axis = array.ndim() - 1; axis >= 0; --axis) {
    offset += index % array.shape(axis) * array.strides(axis);
    index /= array.shape(axis);
  }
  return offset;
}

// Hashes every element of a small array and 128 evenly spaced ones of a large array, each to its
// first 8 bytes: more would cost as many misses of the cache. Only comparable between calls on one
// array.
uint64_t fingerprint(const py::array& array) {
  const int64_t size = array.size(), item = array.itemsize();
  const char* data = static_cast<const char*>(array.data());
  const bool whole = size * item <= kHashedWhole, contiguous = array.flags() & py::array::c_style;
  if (whole && contiguous) {
    const int64_t bytes = size * item, words = bytes / 8;
    const uint64_t rest = word_at(data + 8 * words, bytes % 8);
    return hash_words(rest, words, [&](int64_t i) { return word_at(data + 8 * i, 8); });
  }
  const int64_t samples = whole ? size : kSamples, step = whole ? 1 : (size - 1) / (kSamples - 1);
  if (contiguous && item == 4)
    return hash_words(item, samples, [&](int64_t i) { return word_at(data + 4 * i * step, 4); });
  return hash_words(item, samples, [&](int64_t i) {
    return word_at(data + (contiguous ? i * step * item : offset_of(array, i * step)), item);
  });
}

bool same_shape(const py::detail::PyArray_Proxy* a, const py::detail::PyArray_Proxy* b) {
  return a->nd == b->nd && std::equal(a->dimensions, a->dimensions + a->nd, b->dimensions);
}

// Are all arguments C-contiguous, aligned arrays of one dtype, float32 or float64, and no subclass
// (and of one shape)? Bare functions of Python's C API: pybind11's dispatch would cost more than
// the answer.
template <bool kAlike>
PyObject* are_usual(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  const auto& numpy = py::detail::npy_api::get();
  constexpr int kNeeded = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  const py::detail::PyArray_Proxy* first = nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (Py_TYPE(arguments[i]) != numpy.PyArray_Type_) Py_RETURN_FALSE;
    const auto* header = py::detail::array_proxy(arguments[i]);
    if (i == 0) first = header;
    if (!is_native_float(header->descr) || header->descr != first->descr) Py_RETURN_FALSE;
    if ((header->flags & kNeeded) != kNeeded || header->nd > kMaxDims) Py_RETURN_FALSE;
    if (kAlike && !same_shape(header, first)) Py_RETURN_FALSE;
  }
  Py_RETURN_TRUE;
}

PyCFunction bare(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyObject* fingerprint_of(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2 || !py::isinstance<py::array>(arguments[0])) {
    PyErr_SetString(PyExc_TypeError, "fingerprint: an ndarray and a version are needed");
    return nullptr;
  }
  const uint64_t version = PyLong_AsUnsignedLongLong(arguments[1]);
  if (PyErr_Occurred() != nullptr) return nullptr;
  const auto array = py::reinterpret_borrow<py::array>(arguments[0]);
  return PyLong_FromUnsignedLongLong(fold(fingerprint(array) ^ version, kOdd));
}

PyMethodDef functions[] = {
    {"fingerprint", bare(&fingerprint_of), METH_FASTCALL, "fingerprint(array, version) -> int"},
    {"are_usual", bare(&are_usual<false>), METH_FASTCALL, "are_usual(*arrays) -> bool"},
    {"are_alike", bare(&are_usual<true>), METH_FASTCALL, "are_alike(*arrays) -> bool"},
    {nullptr, nullptr, 0, nullptr},
};

py::list supported_isas() {
  py::list names;
  for (const KernelTable* const* t = all_tables(); *t != nullptr; ++t)
    if (isa_supported((*t)->isa)) names.append((*t)->isa);
  return names;
}

py::dict build_info() {
  py::list isas;
  for (const KernelTable* const* t = all_tables(); *t != nullptr; ++t) isas.append((*t)->isa);
  py::dict info;
  info["compiler"] = __VERSION__;
  info["isas"] = isas;
  info["openmp"] = built_with_openmp();
  info["sanitize"] = PYDIFF_SANITIZE;
  return info;
}

}  // namespace
}  // namespace pydiff::bindings

PYBIND11_MODULE(_native, m, pybind11::mod_gil_not_used()) {
  using namespace pydiff::bindings;
  pydiff::select_isa_at_start();
  remember_dtypes();
  m.doc() = "Native kernels of pydiff. pydiff.backend is the checked way to call them.";
  bind_elementwise(m);
  bind_array_kernels(m);
  bind_products(m);
  bind_norms(m);
  bind_plan(m);
  bind_memory(m);
  bind_optim(m);
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
  m.def("isa", [] { return pydiff::table().isa; });
  m.def("supported_isas", &supported_isas);
  m.def(
      "set_isa", [](const std::string& name) { pydiff::select_isa(name.c_str()); },
      py::arg("name"));
  m.def("num_threads", &pydiff::num_threads);
  m.def(
      "set_num_threads",
      [](int n) {
        if (n < 1 || n > 1024) throw py::value_error("set_num_threads: n must be 1 to 1024");
        pydiff::set_num_threads(n);
      },
      py::arg("n"));
  m.def("openmp", &pydiff::built_with_openmp);
  m.def("build_info", &build_info);
}
