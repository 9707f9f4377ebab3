// Sums of weighted arrays in double precision, entry by entry in the order of the arrays: the same bytes on every instruction set.
#pragma once

#include "dispatch.h"

namespace graft {

/** sums[j] += w x[j], the product rounded. */
GRAFT_VARIANTS(void, addWeighted, (const float* x, double w, double* sums, int64_t n))
/** out[j] = sums[j] / divisor. */
GRAFT_VARIANTS(void, divideSums, (const double* sums, double divisor, float* out, int64_t n))

}  // namespace graft
