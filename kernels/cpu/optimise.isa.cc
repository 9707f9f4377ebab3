#include "optimise.h"

#include "lanes.h"

namespace graft {
namespace GRAFT_ISA {

void adamwLoop(float* __restrict param, const float* __restrict grad, float* __restrict m, float* __restrict v, int64_t n, AdamW o) {
  for (int64_t i = 0; i < n; i++) {
    const float g = grad[i] * o.gradScale;
    m[i] = m[i] * o.beta1 + g * (1 - o.beta1);
    v[i] = v[i] * o.beta2 + g * g * o.oneLessBeta2;
    param[i] = param[i] * o.decay - m[i] / (__builtin_sqrtf(v[i]) * o.rootScale + o.epsilon) * o.stepSize;
  }
}

double squares(const float* x, int64_t n) {
  return sumOver(n, [=](int64_t i) { return x[i] * x[i]; });
}

void sgdLoop(float* __restrict param, const float* __restrict grad, float* __restrict momentum, int64_t n, Sgd o) {
  for (int64_t i = 0; i < n; i++) {
    float g = grad[i] * o.gradScale + param[i] * o.weightDecay;
    if (momentum) {
      momentum[i] = o.first ? g : momentum[i] * o.momentum + g;
      g = o.nesterov ? g + momentum[i] * o.momentum : momentum[i];
    }
    param[i] -= g * o.lr;
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
