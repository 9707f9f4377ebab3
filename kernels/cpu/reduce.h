// Reductions over one axis of a [outer, axis, inner] view.
#pragma once

#include <cstdint>

#include "dispatch.h"

namespace graft {

enum class Reduction : int { Sum, Prod, Max, Min, All, Any };

/** Elements summed in float32 lanes before they go into a double. */
constexpr int64_t kSumBlock = 1024;

/** Σ x in double precision; independent of everything but n. */
GRAFT_VARIANTS(double, sumRun, (const float* x, int64_t n))
/** Π, max or min of n > 0 values; NaN if one is (Max, Min). */
GRAFT_VARIANTS(float, reduceRun, (int reduction, const float* x, int64_t n))
/** y[j] += Σ_i x[i·stride + j]. */
GRAFT_VARIANTS(void, sumColumns, (const float* x, int64_t stride, int64_t rows, double* y, int64_t n))
/** y[j] = y[j] ∘ x[j]. */
GRAFT_VARIANTS(void, combine, (int reduction, const float* x, float* y, int64_t n))
/** Index of the first largest (smallest) of n > 0 values; NaN is never better. */
GRAFT_VARIANTS(int64_t, bestOfRun, (bool largest, const float* x, int64_t n))

}  // namespace graft
