// The kernels of one instruction set, and the choice between the sets at run time.
#pragma once
#include "core/args.h"

namespace pydiff {

template <template <class> class Args>
struct Kernel {
  void (*f32)(const Args<float>&);
  void (*f64)(const Args<double>&);
  void operator()(const Args<float>& args) const { f32(args); }
  void operator()(const Args<double>& args) const { f64(args); }
};

struct KernelTable {
  const char* isa;
#define KERNEL(family, name, Args) Kernel<Args> name;
#include "kernels.def"
#undef KERNEL
};

// Every table of this build, worst first, ended by null.
const KernelTable* const* all_tables();

// The table in use: the best one that the processor supports, or the one that PYDIFF_ISA names.
const KernelTable& table();

bool isa_supported(const char* isa);  // by processor and operating system
void select_isa(const char* isa);     // throws std::invalid_argument where it cannot run here
void select_isa_at_start();           // from PYDIFF_ISA; throws std::runtime_error likewise

}  // namespace pydiff
