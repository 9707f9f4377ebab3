#include "optimise.h"

#include <cmath>

#include "memory.h"

using namespace graft;
using namespace graft::cuda;

static Kernel adamwKernel("optimise", "adamw"), sgdKernel("optimise", "sgd");

/** adamw(param, grad, m, v, gradScale, lr, beta1, beta2, epsilon, weightDecay, step) */
GRAFT_CUDA(adamw) {
  const int64_t n = call.count(0);
  const Pointer grad = call.f32(1, n), param = call.outF32(0, n), m = call.outF32(2, n), v = call.outF32(3, n);
  const double lr = call.number(5), beta1 = call.number(6), beta2 = call.number(7), step = call.number(10);
  const AdamWStep o = {float(call.number(4)), float(beta1), float(beta2), float(1 - beta2), float(1 - lr * call.number(9)),
                       float(1 / std::sqrt(1 - std::pow(beta2, step))), float(call.number(8)), float(lr / (1 - std::pow(beta1, step)))};
  launch(adamwKernel, {blocks(n, 256)}, 256, 0, param, grad, m, v, o, Index(n));
}

/** sgd(param, grad, momentum, gradScale, lr, momentumFactor, weightDecay, nesterov, step): momentum -1 for none. */
GRAFT_CUDA(sgd) {
  const int64_t n = call.count(0);
  const Pointer grad = call.f32(1, n), param = call.outF32(0, n), momentum = call.none(2) ? Pointer() : call.outF32(2, n);
  const SgdStep o = {float(call.number(3)), float(call.number(4)), float(call.number(5)), float(call.number(6)), int(call.flag(7)), int(call.number(8) == 1)};
  launch(sgdKernel, {blocks(n, 256)}, 256, 0, param, grad, momentum, o, Index(n));
}
