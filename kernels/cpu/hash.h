// The hash behind dropout and other noise (src/random.ts has it for every backend): what is drawn is a function of an element's place
// and two keys. For *.isa.cc files.
#pragma once

#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

typedef uint32_t vu __attribute__((vector_size(kLanes * 4)));

static constexpr uint32_t kGolden = 0x9e3779b9u;

/** A bijection of 32-bit integers in which every bit depends on every other (the finaliser of splitmix32). T: uint32_t, or a vector of them. */
template <typename T>
static inline __attribute__((always_inline)) T hash32(T h) {
  h = (h ^ (h >> 16)) * 0x21f0aaadu;
  h = (h ^ (h >> 15)) * 0x735a2d97u;
  return h ^ (h >> 15);
}

static inline uint32_t hashOf(uint32_t i, uint32_t key0, uint32_t key1) { return hash32(hash32(i ^ key0) + key1); }

/** Whether elements [j, j + kLanes) of the row with this hash stay: splitmix32's stream from there. */
static inline vi keptInRow(uint32_t row, uint32_t j, uint32_t below) {
  vu h = {};
  for (uint32_t i = 0; i < uint32_t(kLanes); i++) h[i] = i * kGolden;
  return hash32(h + (row + j * kGolden)) >= below;
}

}  // namespace GRAFT_ISA
}  // namespace graft
