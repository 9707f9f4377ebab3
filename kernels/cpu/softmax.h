// Rows of softmax, log-softmax and cross-entropy, with their gradients. `rows` rows of n elements, dense.
#pragma once

#include <cstdint>

#include "dispatch.h"

namespace graft {

GRAFT_VARIANTS(void, softmaxRows, (const float* x, float* y, int64_t rows, int64_t n))
GRAFT_VARIANTS(void, logSoftmaxRows, (const float* x, float* y, int64_t rows, int64_t n))
/** dx = y (dy - Σ dy y). */
GRAFT_VARIANTS(void, softmaxGradRows, (const float* dy, const float* y, float* dx, int64_t rows, int64_t n))
/** dx = dy - exp(y) Σ dy. */
GRAFT_VARIANTS(void, logSoftmaxGradRows, (const float* dy, const float* y, float* dx, int64_t rows, int64_t n))
/** loss = (1-ε)(log Z - x_label) + ε mean_c(log Z - x_c), 0 where the label is `ignored`; log Z is kept for the gradient. */
GRAFT_VARIANTS(void, crossEntropyRows, (const float* x, const int32_t* labels, int32_t ignored, float epsilon, float* loss, float* logZ, int64_t rows, int64_t n))
/** dx = dy (softmax(x) - target). */
GRAFT_VARIANTS(void, crossEntropyGradRows, (const float* dy, const float* x, const int32_t* labels, const float* logZ, int32_t ignored, float epsilon, float* dx, int64_t rows, int64_t n))

/** How many rows of n elements there are. */
int64_t rowCount(int64_t count, int64_t n);
/** @throws for the first label that is neither `ignored` nor a class */
void checkLabels(const int32_t* labels, int64_t count, int64_t classes, int32_t ignored);

}  // namespace graft
