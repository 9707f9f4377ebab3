// The hash behind dropout and other noise (src/random.ts has it for every backend): what is drawn is a function of an element's place
// and two keys. For *.isa.cc files.
#pragma once

#include <cstdint>

#include "../common/hash32.h"
#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

typedef uint32_t vu __attribute__((vector_size(kLanes * 4)));

/** Whether elements [j, j + kLanes) of the row with this hash stay: splitmix32's stream from there. */
static inline vi keptInRow(uint32_t row, uint32_t j, uint32_t below) {
  vu h = {};
  for (uint32_t i = 0; i < uint32_t(kLanes); i++) h[i] = i * kGolden;
  return hash32(h + (row + j * kGolden)) >= below;
}

}  // namespace GRAFT_ISA
}  // namespace graft
