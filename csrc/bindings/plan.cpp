// Recording of kernel calls, and plans made of them. pydiff.plan decides what goes where.
#include "plan/plan.h"

#include <pybind11/stl.h>

#include <array>

#include "bindings/arguments.h"
#include "plan/recording.h"

namespace pydiff::bindings {
namespace {

std::vector<std::vector<uint64_t>> pointers_of(const Recording& recording) {
  std::vector<std::vector<uint64_t>> result;
  for (const Instruction& i : recording.instructions) {
    const uint64_t* first = recording.words.data() + i.args;
    result.emplace_back(first, first + i.pointers);
  }
  return result;
}

// What an external array must be, taken from one of its kind
struct External {
  Dtype dtype;
  int64_t bytes;
  int64_t rows;  // int64 arrays are indices below it; 0: anything goes
};

int64_t item_size(Dtype dtype) { return dtype == Dtype::kFloat32 ? 4 : 8; }

int64_t size_of(const py::detail::PyArray_Proxy* header) {
  int64_t size = 1;
  for (int i = 0; i < header->nd; ++i) size *= header->dimensions[i];
  return size;
}

void check_index(const int64_t* index, int64_t size, int64_t rows) {
  for (int64_t i = 0; rows > 0 && i < size; ++i)
    if (index[i] < 0 || index[i] >= rows)
      fail_value("plan", "index " + std::to_string(index[i]) + " at position " + std::to_string(i) +
                             " is outside [0, " + std::to_string(rows) + ")");
}

class BoundPlan {
 public:
  BoundPlan(const Recording& recording, const std::vector<std::array<int64_t, 4>>& relocations,
            int64_t arena_bytes, const py::list& externals, const std::vector<int64_t>& rows,
            py::object keep)
      : externals_(described(externals, rows)),
        plan_(recording, unpacked(relocations), arena_bytes, sizes(externals_)),
        keep_(std::move(keep)) {
    expect("plan", arena_bytes >= 0, "arena_bytes must not be negative");
  }

  // arrays: one for each external, the last one is written
  void run(const py::list& arrays, const py::object& seconds) const {
    const std::vector<void*> data = checked(arrays);
    double* times = nullptr;
    if (!seconds.is_none()) {
      const auto array = output<double>("plan", "seconds", seconds);
      expect_size("plan", array, plan_.size());
      times = array.data;
    }
    as_kernel_call([&] { plan_.run(data.data(), times); });
  }

  // The same in `count` parts side by side, each by the plan `part`. steps: the bytes from one
  // part's share of an array to the next part's; 0 where all take the same.
  void run_parts(const py::list& arrays, const BoundPlan& part, int64_t count,
                 const std::vector<int64_t>& steps) const {
    const std::vector<void*> data = checked(arrays);
    expect("plan", count >= 1 && count <= 1024 && fits(part, count, steps),
           "the parts do not make up the whole");
    std::vector<std::vector<void*>> shares(count, data);
    for (int64_t k = 0; k < count; ++k)
      for (size_t i = 0; i < data.size(); ++i)
        shares[k][i] = static_cast<char*>(data[i]) + k * steps[i];
    as_kernel_call([&] { part.plan_.run_all(shares); });
  }
  int64_t size() const { return plan_.size(); }

 private:
  static std::vector<External> described(const py::list& arrays, const std::vector<int64_t>& rows) {
    expect("plan", arrays.size() == rows.size(), "one number of rows for each array is needed");
    std::vector<External> result;
    for (size_t i = 0; i < rows.size(); ++i) {
      const Dtype dtype = dtype_of(arrays[i]);
      expect("plan", dtype != Dtype::kOther, "external arrays are float32, float64 or int64");
      const auto* header = checked_header("plan", "array", arrays[i], dtype, kRead);
      result.push_back({dtype, size_of(header) * item_size(dtype), rows[i]});
    }
    return result;
  }
  static std::vector<Relocation> unpacked(const std::vector<std::array<int64_t, 4>>& rows) {
    std::vector<Relocation> result;
    for (const auto& r : rows) result.push_back({r[0], r[1], r[2], r[3]});
    return result;
  }
  static std::vector<int64_t> sizes(const std::vector<External>& externals) {
    std::vector<int64_t> result;
    for (const External& external : externals) result.push_back(external.bytes);
    return result;
  }

  bool fits(const BoundPlan& part, int64_t count, const std::vector<int64_t>& steps) const {
    bool good = steps.size() == externals_.size() && part.externals_.size() == externals_.size();
    for (size_t i = 0; good && i < steps.size(); ++i) {
      const External &own = externals_[i], &its = part.externals_[i];
      good = its.dtype == own.dtype && its.rows == own.rows && steps[i] >= 0 &&
             steps[i] <= own.bytes && (count - 1) * steps[i] + its.bytes <= own.bytes;
    }
    return good;
  }

  std::vector<void*> checked(const py::list& arrays) const {
    expect("plan", arrays.size() == externals_.size(), "wrong number of arrays");
    std::vector<void*> data(externals_.size());
    for (size_t i = 0; i < data.size(); ++i) data[i] = checked(arrays, i);
    return data;
  }

  void* checked(const py::list& arrays, size_t i) const {
    const External& external = externals_[i];
    const int flags = i + 1 == externals_.size() ? kWrite : kRead;
    const auto* header = checked_header("plan", "array", arrays[i], external.dtype, flags);
    const int64_t size = size_of(header);
    if (size * item_size(external.dtype) != external.bytes)
      fail_value("plan", "array " + std::to_string(i) + " has the wrong size");
    if (external.dtype == Dtype::kInt64)
      check_index(reinterpret_cast<const int64_t*>(header->data), size, external.rows);
    return header->data;
  }

  std::vector<External> externals_;
  Plan plan_;
  py::object keep_;  // the arrays that recorded pointers lead to
};

}  // namespace

void bind_plan(py::module_& m) {
  using py::arg;
  py::class_<Recording>(m, "Recording")
      .def(py::init<>())
      .def("start", &Recording::start)
      .def("stop", &Recording::stop)
      .def("pointers", &pointers_of)
      .def("__len__", [](const Recording& r) { return r.instructions.size(); });
  py::class_<BoundPlan>(m, "Plan")
      .def(py::init<const Recording&, const std::vector<std::array<int64_t, 4>>&, int64_t,
                    const py::list&, const std::vector<int64_t>&, py::object>(),
           arg("recording"), arg("relocations"), arg("arena_bytes"), arg("externals"), arg("rows"),
           arg("keep"))
      .def("run", &BoundPlan::run, arg("arrays"), arg("seconds") = py::none())
      .def("run_parts", &BoundPlan::run_parts, arg("arrays"), arg("part"), arg("count"),
           arg("steps"))
      .def("__len__", &BoundPlan::size);
}

}  // namespace pydiff::bindings
