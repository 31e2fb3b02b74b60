#include "core/conv_choice.h"

#include <initializer_list>

namespace pydiff {

ConvAlgorithm choose_conv(int64_t ho, int64_t wo, int64_t ci, int64_t co, int64_t kh, int64_t kw,
                          int64_t stride_h, int64_t stride_w) {
  const bool fits = kh == 3 && kw == 3 && stride_h == 1 && stride_w == 1;
  if (!fits || ci < 8 || co < 1) return kDirect;
  if (ho * wo >= 144) return kWinograd4;
  return ho * wo >= 36 ? kWinograd2 : kDirect;
}

int64_t conv_packed_size(int64_t kh, int64_t kw, int64_t ci, int64_t co, ConvAlgorithm algorithm,
                         int64_t columns) {
  const bool direct = algorithm == kDirect;
  const int64_t points = (algorithm + 2) * (algorithm + 2);
  const int64_t padded = co > INT64_MAX - columns ? -1 : (co + columns - 1) / columns * columns;
  int64_t size = 1;
  for (const int64_t factor : {direct ? kh : 1, direct ? kw : 1, ci, padded})
    if (factor < 0 || __builtin_mul_overflow(size, factor, &size)) return -1;
  // Winograd: a line behind the matrix of each point, see packed_step of kernels/winograd.cpp
  if (direct) return size;
  const bool overflow = __builtin_add_overflow(size, columns / 2, &size) ||
                        __builtin_mul_overflow(size, points, &size);
  return overflow ? -1 : size;
}

}  // namespace pydiff
