#include "core/conv_choice.h"

#include <cmath>
#include <initializer_list>

namespace pydiff {
namespace {

// Flops that a machine does while it reads one byte of a weight from memory: 500 GFLOP/s against
// 45 GB/s. Weights up to 2 MB are taken to stay in a cache from one call to the next.
constexpr double kFlopsPerByte = 11, kCached = 2 << 20;
// A transform of more bytes than this is not made: large models would not fit into memory.
constexpr double kMostBytes = 64 << 20;
// One image alone waits for its weights, sixteen share them: the choice is that for two.
constexpr double kImages = 2;
// Transforms of one tile, per channel, in flops that the processor could have done meanwhile:
// measured in cycles (80 and 55 per vector with m = 4, 25 and 18 with m = 2).
constexpr double kInput[] = {0, 0, 100, 0, 320}, kOutput[] = {0, 0, 70, 0, 220};

double cost(double ho, double wo, double ci, double co, int m) {
  const auto tiles = [m](double n) { return std::ceil(n / m); };
  const double count = m == 0 ? ho * wo : tiles(ho) * tiles(wo);
  const double taps = m == 0 ? 9 : (m + 2) * (m + 2), bytes = taps * ci * co * 4;
  if (m != 0 && bytes > kMostBytes) return HUGE_VAL;
  const double lanes = 16 * std::ceil(co / 16);  // a vector is whole
  const double work = count * (2 * taps * ci * lanes + kInput[m] * ci + kOutput[m] * co) * kImages;
  const double stream = bytes > kCached ? bytes * kFlopsPerByte : 0;
  return work > stream ? work : stream;
}

}  // namespace

ConvAlgorithm choose_conv(int64_t ho, int64_t wo, int64_t ci, int64_t co, int64_t kh, int64_t kw,
                          int64_t stride_h, int64_t stride_w) {
  // Below 8 channels the products of the points are too shallow.
  if (kh != 3 || kw != 3 || stride_h != 1 || stride_w != 1 || ci < 8) return kDirect;
  ConvAlgorithm best = kDirect;
  double least = -1;
  for (const ConvAlgorithm algorithm : {kWinograd4, kWinograd2, kDirect}) {
    const double here = cost(static_cast<double>(ho), static_cast<double>(wo),
                             static_cast<double>(ci), static_cast<double>(co), algorithm);
    if (least < 0 || here < least) best = algorithm, least = here;
  }
  return best;
}

int64_t conv_packed_size(int64_t kh, int64_t kw, int64_t ci, int64_t co, ConvAlgorithm algorithm,
                         int64_t columns) {
  const bool direct = algorithm == kDirect;
  const int64_t points = (algorithm + 2) * (algorithm + 2);
  const bool fits = co >= 0 && co <= INT64_MAX - columns;
  const int64_t padded = fits ? (co + columns - 1) / columns * columns : -1;
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
