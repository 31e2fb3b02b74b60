// Views of arrays made simple before a kernel walks them.
#pragma once
#include <cstdint>

namespace pydiff {

// Drops axes of length 1 and merges neighbours that every operand steps through as one, so that
// the last axis is as long as possible. strides[operand][axis] count elements. Returns the new
// number of axes, at least 1.
int collapse(int ndim, int64_t* shape, int operands, int64_t* const* strides);

// Orders axes by falling |stride| of the last operand: for copies, where order does not matter.
void sort_axes(int ndim, int64_t* shape, int operands, int64_t* const* strides);

}  // namespace pydiff
