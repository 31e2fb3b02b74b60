#include "core/cpu.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pydiff {

#if defined(__x86_64__)
namespace {

struct Features {
  unsigned leaf1_ecx = 0, leaf7_ebx = 0, extended_ecx = 0, state = 0;

  Features() {
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) leaf1_ecx = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) leaf7_ebx = b;
    if (__get_cpuid(0x80000001u, &a, &b, &c, &d)) extended_ecx = c;
    if (leaf1_ecx & bit_OSXSAVE) {  // registers that the operating system saves
      unsigned high;
      asm volatile("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
    }
  }
};

struct Need {
  int level;
  const char* name;
  unsigned Features::* word;
  unsigned bits;
};

constexpr unsigned kXmmYmm = 0x6, kZmm = 0xe0;

// The x86-64 psABI's levels; "OS" rows are what xgetbv reports.
constexpr Need kNeeds[] = {
    {2, "SSE3", &Features::leaf1_ecx, bit_SSE3},
    {2, "SSSE3", &Features::leaf1_ecx, bit_SSSE3},
    {2, "SSE4.1", &Features::leaf1_ecx, bit_SSE4_1},
    {2, "SSE4.2", &Features::leaf1_ecx, bit_SSE4_2},
    {2, "POPCNT", &Features::leaf1_ecx, bit_POPCNT},
    {2, "CMPXCHG16B", &Features::leaf1_ecx, bit_CMPXCHG16B},
    {2, "LAHF", &Features::extended_ecx, 1},
    {3, "AVX", &Features::leaf1_ecx, bit_AVX},
    {3, "OS support of AVX", &Features::state, kXmmYmm},
    {3, "AVX2", &Features::leaf7_ebx, bit_AVX2},
    {3, "BMI1", &Features::leaf7_ebx, bit_BMI},
    {3, "BMI2", &Features::leaf7_ebx, bit_BMI2},
    {3, "F16C", &Features::leaf1_ecx, bit_F16C},
    {3, "FMA", &Features::leaf1_ecx, bit_FMA},
    {3, "LZCNT", &Features::extended_ecx, 1 << 5},
    {3, "MOVBE", &Features::leaf1_ecx, bit_MOVBE},
    {4, "OS support of AVX-512", &Features::state, kZmm},
    {4, "AVX512F", &Features::leaf7_ebx, bit_AVX512F},
    {4, "AVX512BW", &Features::leaf7_ebx, bit_AVX512BW},
    {4, "AVX512CD", &Features::leaf7_ebx, bit_AVX512CD},
    {4, "AVX512DQ", &Features::leaf7_ebx, bit_AVX512DQ},
    {4, "AVX512VL", &Features::leaf7_ebx, bit_AVX512VL},
};

}  // namespace

const char* missing_feature(const char* isa) {
  static const Features here;
  const bool is_level = isa[0] == 'v' && isa[1] >= '2' && isa[1] <= '4' && isa[2] == '\0';
  if (!is_level) return nullptr;
  for (const Need& need : kNeeds)
    if (need.level <= isa[1] - '0' && (here.*need.word & need.bits) != need.bits) return need.name;
  return nullptr;
}
#else
const char* missing_feature(const char*) { return nullptr; }
#endif

}  // namespace pydiff
