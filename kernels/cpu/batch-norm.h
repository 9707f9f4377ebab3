// Per-channel sums over rows [n, C], and the element-wise parts of batch normalisation.
#pragma once

#include "dispatch.h"

namespace graft {

/** Mean and sum of squared distances of n values, joined with those of m more (Chan, Golub & LeVeque, 1983). */
static inline void joinMoments(double n, double& mean, double& squares, double m, double otherMean, double otherSquares) {
  const double off = otherMean - mean, all = n + m;
  mean += off * (m / all);
  squares += otherSquares + off * off * (n * m / all);
}

/** The mean of every column and the sum of squared distances from it; `work`: 2 C floats, as below. */
GRAFT_VARIANTS(void, columnMoments, (const float* x, int64_t rows, int64_t C, float* work, double* mean, double* squares))
/** products[c] = Σ dy (x - mean), sum[c] = Σ dy. */
GRAFT_VARIANTS(void, columnProducts, (const float* x, const float* dy, const float* mean, int64_t rows, int64_t C, float* work, double* sum, double* products))
/** y = x·scale + shift per channel. */
GRAFT_VARIANTS(void, affineRows, (const float* x, const float* scale, const float* shift, int64_t rows, int64_t C, float* y))
/** dx = dy·a + (x - mean)·b + c per channel. */
GRAFT_VARIANTS(void, gradientRows, (const float* dy, const float* x, const float* mean, const float* a, const float* b, const float* c,
                                    int64_t rows, int64_t C, float* dx))

}  // namespace graft
