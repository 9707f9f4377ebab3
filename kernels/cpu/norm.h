// Rows of layer and RMS normalisation: y = γ (x - μ) r + β with r = 1/√(σ² + ε); for RMS μ = 0, σ² = mean x² and no β.
#pragma once

#include <cstdint>

#include "dispatch.h"

namespace graft {

/** centred: layer norm. beta may be null. Keeps μ and r of every row. */
GRAFT_VARIANTS(void, normRows, (const float* x, const float* gamma, const float* beta, float* y, float* mean, float* rstd, float epsilon, bool centred, int64_t rows, int64_t n))
/** With g = γ dy and x̂ = (x - μ) r: dx = r (g - mean g - x̂ mean(g x̂)), without the second term unless centred. */
GRAFT_VARIANTS(void, normGradRows, (const float* dy, const float* x, const float* gamma, const float* mean, const float* rstd, float* dx, bool centred, int64_t rows, int64_t n))
/** dγ += Σ_rows dy x̂. */
GRAFT_VARIANTS(void, normGammaRows, (const float* dy, const float* x, const float* mean, const float* rstd, float* dgamma, int64_t rows, int64_t n))

}  // namespace graft
