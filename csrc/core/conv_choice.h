// Which algorithm a convolution takes, and how large its packed weight is: by shape alone, the same
// for every batch, instruction set and number of threads, so that results do not depend on them.
#pragma once
#include <cstdint>

#include "core/args.h"

namespace pydiff {

ConvAlgorithm choose_conv(int64_t ho, int64_t wo, int64_t ci, int64_t co, int64_t kh, int64_t kw,
                          int64_t stride_h, int64_t stride_w);

// Elements of the packed weight (kh, kw, ci, co), padded to `columns` outputs; -1 on overflow.
int64_t conv_packed_size(int64_t kh, int64_t kw, int64_t ci, int64_t co, ConvAlgorithm algorithm,
                         int64_t columns);

}  // namespace pydiff
