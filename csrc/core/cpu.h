// What the processor and the operating system support, from CPUID and xgetbv.
#pragma once

namespace pydiff {

// The first feature of an x86-64 level ("v2", "v3", "v4") that is missing here; null where the
// whole level can run. Other names ("scalar", "neon") always can.
const char* missing_feature(const char* isa);

}  // namespace pydiff
