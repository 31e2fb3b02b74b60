#include "core/layout.h"

#include <utility>

namespace pydiff {
namespace {

int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

}  // namespace

int collapse(int ndim, int64_t* shape, int operands, int64_t* const* strides) {
  int kept = 0;  // axes [0, kept) are done
  for (int axis = 0; axis < ndim; ++axis) {
    if (shape[axis] == 1) continue;
    bool merges = kept > 0;
    for (int i = 0; i < operands && merges; ++i)
      merges = strides[i][kept - 1] == strides[i][axis] * shape[axis];
    const int to = merges ? kept - 1 : kept++;
    shape[to] = merges ? shape[to] * shape[axis] : shape[axis];
    for (int i = 0; i < operands; ++i) strides[i][to] = strides[i][axis];
  }
  if (kept > 0) return kept;
  shape[0] = 1;
  for (int i = 0; i < operands; ++i) strides[i][0] = 1;
  return 1;
}

void sort_axes(int ndim, int64_t* shape, int operands, int64_t* const* strides) {
  const int64_t* key = strides[operands - 1];
  for (int i = 1; i < ndim; ++i)
    for (int j = i; j > 0 && magnitude(key[j - 1]) < magnitude(key[j]); --j) {
      std::swap(shape[j - 1], shape[j]);
      for (int k = 0; k < operands; ++k) std::swap(strides[k][j - 1], strides[k][j]);
    }
}

}  // namespace pydiff
