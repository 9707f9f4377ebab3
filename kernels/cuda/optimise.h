// Shared by optimise.cc and optimise.cu: the constants of a step, as cpu/optimise.h has them.
#pragma once

#include "types.h"

struct AdamWStep { float gradScale, beta1, beta2, oneLessBeta2, decay, rootScale, epsilon, stepSize; };
/** One of the tensors that a launch goes through: addresses, elements, and which of its blocks of kPerBlock elements is the first. */
struct AdamWTensor { Index param, grad, m, v, n, firstBlock; AdamWStep step; };
constexpr int kPerBlock = 1024;

/** A tensor whose squares are added up: its address, elements, and which of the launch's blocks is its first. */
struct Squared { Index x, n, firstBlock; };

struct SgdStep { float gradScale, lr, momentum, weightDecay; int nesterov, first; };
