// Optimiser steps in place.
#pragma once

#include <cstdint>

#include "core.h"
#include "dispatch.h"

namespace graft {

/** decay: 1 - lr·λ; rootScale: 1/√(1 - β₂ᵗ); stepSize: lr/(1 - β₁ᵗ). */
struct AdamW { float gradScale, beta1, beta2, oneLessBeta2, decay, rootScale, epsilon, stepSize; };
struct Sgd { float gradScale, lr, momentum, weightDecay; bool nesterov, first; };

/** From gradScale, lr, β₁, β₂, ε, λ, t. */
constexpr int64_t kAdamWNumbers = 7;
AdamW adamwOf(const double* numbers);
/** Argument 1 of the export: so many numbers for each tensor. @throws where there are not */
const double* adamwNumbers(const Args& args, size_t tensors);

GRAFT_VARIANTS(void, adamwLoop, (float* param, const float* grad, float* m, float* v, int64_t n, AdamW o))
/** Σ x² in double precision; independent of everything but n. */
GRAFT_VARIANTS(double, squares, (const float* x, int64_t n))
/** momentum may be null. */
GRAFT_VARIANTS(void, sgdLoop, (float* param, const float* grad, float* momentum, int64_t n, Sgd o))

}  // namespace graft
