// Run-time choice of instruction set. Every *.isa.cc file is compiled once per instruction set (Makefile: ISAS) with
// GRAFT_ISA set to its name; its functions live in namespace graft::GRAFT_ISA. The header that both sides include says
//
//     GRAFT_VARIANTS(void, addRows, (const float* x, const float* y, float* out, int64_t n))
//
// inside namespace graft; ordinary .cc files then call graft::addRows(...), which is the best variant this CPU runs.
// The .isa.cc file defines it:
//
//     namespace graft { namespace GRAFT_ISA {
//     void addRows(const float* x, const float* y, float* out, int64_t n) { ... }
//     } }
//
// In a .isa.cc file: raw loops over pointers, static functions, simd.h. No STL and no inline functions of other headers:
// the linker keeps one copy of those, and it might be the one with AVX-512 in it. Threads and scratch memory are the caller's.
#pragma once

#include <cstdint>

namespace graft {

enum class Isa : int { base = 0, avx2 = 1, avx512 = 2 };

/** The best instruction set of this CPU, or a lesser one asked for by GRAFT_ISA in the environment (to test the others). */
Isa isa();
/** AVX512-BF16 dot products. */
bool hasBf16();

}  // namespace graft

#ifdef GRAFT_ISA
#define GRAFT_VARIANTS(result, name, parameters) \
  namespace GRAFT_ISA { result name parameters; }
#elif defined(__x86_64__)
#define GRAFT_VARIANTS(result, name, parameters)  \
  namespace base { result name parameters; }      \
  namespace avx2 { result name parameters; }      \
  namespace avx512 { result name parameters; }    \
  inline result(*const name) parameters =         \
      isa() == Isa::avx512 ? avx512::name : isa() == Isa::avx2 ? avx2::name : base::name;
#else
#define GRAFT_VARIANTS(result, name, parameters) \
  namespace base { result name parameters; }     \
  inline result(*const name) parameters = base::name;
#endif
