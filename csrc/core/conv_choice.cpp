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
  const int64_t tile = algorithm + 2;
  int64_t size = algorithm == kDirect ? 1 : tile * tile;
  const int64_t padded = co > INT64_MAX - columns ? -1 : (co + columns - 1) / columns * columns;
  for (const int64_t factor : {algorithm == kDirect ? kh : 1, algorithm == kDirect ? kw : 1, ci, padded})
    if (factor < 0 || __builtin_mul_overflow(size, factor, &size)) return -1;
  return size;
}

}  // namespace pydiff
