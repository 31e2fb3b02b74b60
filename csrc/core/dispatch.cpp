// PYDIFF_FOR_EACH_ISA(X) comes from the build: X(v2) X(v3) X(v4), worst first.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "core/cpu.h"
#include "core/table.h"

namespace pydiff {

#define PYDIFF_DECLARE(isa)         \
  namespace isa {                   \
  extern const KernelTable kernels; \
  }
PYDIFF_FOR_EACH_ISA(PYDIFF_DECLARE)
#undef PYDIFF_DECLARE

namespace {

#define PYDIFF_ADDRESS(isa) &isa::kernels,
constexpr const KernelTable* kTables[] = {PYDIFF_FOR_EACH_ISA(PYDIFF_ADDRESS) nullptr};
#undef PYDIFF_ADDRESS

std::atomic<const KernelTable*> chosen{nullptr};

const KernelTable* find(const char* isa) {
  for (const KernelTable* const* t = kTables; *t != nullptr; ++t)
    if (std::strcmp((*t)->isa, isa) == 0) return *t;
  return nullptr;
}

const KernelTable* best() {
  const KernelTable* found = nullptr;
  for (const KernelTable* const* t = kTables; *t != nullptr; ++t)
    if (missing_feature((*t)->isa) == nullptr) found = *t;
  if (found != nullptr) return found;
  throw std::runtime_error(std::string("pydiff: this processor lacks ") +
                           missing_feature(kTables[0]->isa) + ", which every kernel needs (" +
                           kTables[0]->isa + ")");
}

}  // namespace

const KernelTable* const* all_tables() { return kTables; }

const KernelTable& table() { return *chosen.load(std::memory_order_acquire); }

bool isa_supported(const char* isa) {
  return find(isa) != nullptr && missing_feature(isa) == nullptr;
}

void select_isa(const char* isa) {
  const KernelTable* found = find(isa);
  if (found == nullptr) {
    std::string known;
    for (const KernelTable* const* t = kTables; *t != nullptr; ++t)
      known += std::string(known.empty() ? "" : ", ") + (*t)->isa;
    throw std::invalid_argument(std::string("instruction set '") + isa +
                                "' is not in this build; allowed: " + known);
  }
  if (const char* missing = missing_feature(isa))
    throw std::invalid_argument(std::string("instruction set '") + isa +
                                "' cannot run here: this processor lacks " + missing);
  chosen.store(found, std::memory_order_release);
}

void select_isa_at_start() {
  const char* forced = std::getenv("PYDIFF_ISA");
  if (forced == nullptr || *forced == '\0') {
    chosen.store(best(), std::memory_order_release);
    return;
  }
  try {
    select_isa(forced);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(std::string("PYDIFF_ISA: ") + error.what());
  }
}

}  // namespace pydiff
