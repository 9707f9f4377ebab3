// A bijection of 32-bit integers in which every bit depends on every other (the finaliser of splitmix32); for *.isa.cc files.
#pragma once

#include <cstdint>

namespace graft {
namespace GRAFT_ISA {

static inline __attribute__((always_inline, unused)) uint32_t hash32(uint32_t h) {
  h = (h ^ (h >> 16)) * 0x21f0aaadu;
  h = (h ^ (h >> 15)) * 0x735a2d97u;
  return h ^ (h >> 15);
}

}  // namespace GRAFT_ISA
}  // namespace graft
