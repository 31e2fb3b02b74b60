// Compiled once per instruction set, with baseline flags: the table of the kernels built for it.
#include "core/table.h"

namespace pydiff::PYDIFF_ISA {

#define KERNEL(family, name, Args) \
  void name(const Args<float>&);   \
  void name(const Args<double>&);
#include "kernels.def"
#undef KERNEL

#define PYDIFF_TEXT_(x) #x
#define PYDIFF_TEXT(x) PYDIFF_TEXT_(x)
extern const KernelTable kernels;
const KernelTable kernels = {
    PYDIFF_TEXT(PYDIFF_ISA),
#define KERNEL(family, name, Args) {name, name},
#include "kernels.def"
#undef KERNEL
};

}  // namespace pydiff::PYDIFF_ISA
