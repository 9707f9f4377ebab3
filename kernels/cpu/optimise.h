// Optimiser steps in place.
#pragma once

#include <cstdint>

#include "dispatch.h"

namespace graft {

/** decay: 1 - lr·λ; rootScale: 1/√(1 - β₂ᵗ); stepSize: lr/(1 - β₁ᵗ). */
struct AdamW { float gradScale, beta1, beta2, oneLessBeta2, decay, rootScale, epsilon, stepSize; };
struct Sgd { float gradScale, lr, momentum, weightDecay; bool nesterov, first; };

GRAFT_VARIANTS(void, adamwLoop, (float* param, const float* grad, float* m, float* v, int64_t n, AdamW o))
/** momentum may be null. */
GRAFT_VARIANTS(void, sgdLoop, (float* param, const float* grad, float* momentum, int64_t n, Sgd o))

}  // namespace graft
