// Per-channel sums over rows [n, C], and the element-wise parts of batch normalisation.
#pragma once

#include "dispatch.h"

namespace graft {

/** sum[c] = Σ (x - shift) (shift null: 0). */
GRAFT_VARIANTS(void, columnSums, (const float* x, const float* shift, int64_t rows, int64_t C, double* sum))
/** squares[c] = Σ (x - mean)². */
GRAFT_VARIANTS(void, columnSquares, (const float* x, const float* mean, int64_t rows, int64_t C, double* squares))
/** products[c] = Σ dy (x - mean), sum[c] = Σ dy. */
GRAFT_VARIANTS(void, columnProducts, (const float* x, const float* dy, const float* mean, int64_t rows, int64_t C, double* sum, double* products))
/** y = x·scale + shift per channel. */
GRAFT_VARIANTS(void, affineRows, (const float* x, const float* scale, const float* shift, int64_t rows, int64_t C, float* y))
/** dx = dy·a + (x - mean)·b + c per channel. */
GRAFT_VARIANTS(void, gradientRows, (const float* dy, const float* x, const float* mean, const float* a, const float* b, const float* c,
                                    int64_t rows, int64_t C, float* dx))

}  // namespace graft
