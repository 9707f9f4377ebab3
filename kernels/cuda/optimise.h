// Shared by optimise.cc and optimise.cu: the constants of a step, as cpu/optimise.h has them.
#pragma once

struct AdamWStep { float gradScale, beta1, beta2, oneLessBeta2, decay, rootScale, epsilon, stepSize; };
struct SgdStep { float gradScale, lr, momentum, weightDecay; int nesterov, first; };
