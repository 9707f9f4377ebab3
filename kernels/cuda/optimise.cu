#include "device.cuh"
#include "optimise.h"

KERNEL(256, adamw, float* param, const float* grad, float* m, float* v, AdamWStep o, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  const float g = grad[i] * o.gradScale, mean = m[i] * o.beta1 + g * (1 - o.beta1), square = v[i] * o.beta2 + g * g * o.oneLessBeta2;
  m[i] = mean;
  v[i] = square;
  param[i] = param[i] * o.decay - mean / (sqrtf(square) * o.rootScale + o.epsilon) * o.stepSize;
}

KERNEL(256, sgd, float* param, const float* grad, float* momentum, SgdStep o, Index n) {
  const Index i = threadNumber();
  if (i >= n) return;
  float g = grad[i] * o.gradScale + param[i] * o.weightDecay;
  if (momentum) {
    const float moved = o.first ? g : momentum[i] * o.momentum + g;
    momentum[i] = moved;
    g = o.nesterov ? g + moved * o.momentum : moved;
  }
  param[i] -= g * o.lr;
}
