// What the processor can do at most: independent chains of fma in registers.
#include "core/args.h"
#include "core/parallel.h"
#include "kernels/gemm.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// y (tasks,): the ends of the chains, so that they are not optimised away. flops (1,): of all
// tasks.
template <class T>
void fma_peak_impl(const PeakArgs<T>& args) {
  constexpr int chains = 12;  // two fma a cycle, each takes four or five
  parallel_for(args.tasks, [&](int64_t task, int) {
    Vec<T> acc[chains];
    PYDIFF_UNROLL for (int i = 0; i < chains; ++i) acc[i] = set1<T>(T(i));
    const Vec<T> scale = set1<T>(T(0.999)), step = set1<T>(T(1e-3));
    for (int64_t k = 0; k < args.iterations; ++k) {
      PYDIFF_UNROLL for (int i = 0; i < chains; ++i) acc[i] = fma(acc[i], scale, step);
    }
    PYDIFF_UNROLL for (int i = 1; i < chains; ++i) acc[0] = acc[0] + acc[i];
    store(args.y + task, acc[0], First{1});
  });
  *args.flops = 2 * chains * Vec<T>::width * args.tasks * args.iterations;
}

}  // namespace

void fma_peak(const PeakArgs<float>& args) { fma_peak_impl(args); }
void fma_peak(const PeakArgs<double>& args) { fma_peak_impl(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
