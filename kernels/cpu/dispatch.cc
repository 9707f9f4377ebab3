#include "dispatch.h"

#include <cstdlib>
#include <cstring>

#include "core.h"

namespace graft {

static Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  Isa best = Isa::base;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = Isa::avx2;
  if (best == Isa::avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    best = Isa::avx512;
  const char* wanted = std::getenv("GRAFT_ISA");
  if (wanted && !std::strcmp(wanted, "base")) best = Isa::base;
  if (wanted && !std::strcmp(wanted, "avx2") && best == Isa::avx512) best = Isa::avx2;
  return best;
#else
  return Isa::base;
#endif
}

Isa isa() {
  static const Isa chosen = detect();
  return chosen;
}

bool hasBf16() {
#if defined(__x86_64__)
  return isa() == Isa::avx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace graft

/** isa(): 0 base, 1 AVX2, 2 AVX-512, 3 AVX-512 with bf16 products. */
GRAFT_EXPORT(isa) { args.returns(double(int(graft::isa()) + (graft::hasBf16() ? 1 : 0))); }
