// Dropout whose mask is a hash of the element's index: nothing is stored for the gradient.
#pragma once

#include <cstdint>

#include "dispatch.h"

namespace graft {

/** y = x · keep, or x · 0 where hash(first + i) < below. */
GRAFT_VARIANTS(void, dropoutLoop, (const float* x, float* y, int64_t n, uint32_t first, uint32_t key0, uint32_t key1, uint32_t below, float keep))

}  // namespace graft
