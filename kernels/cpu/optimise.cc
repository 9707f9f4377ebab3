#include "optimise.h"

#include <cmath>
#include <cstring>

#include "core.h"

static constexpr int64_t kGrain = 16384;

/** adamw(param, grad, m, v, gradScale, lr, beta1, beta2, epsilon, weightDecay, step) */
GRAFT_EXPORT(adamw) {
  graft::Scratch scratch;
  const int64_t n = args.count(0);
  float *param = args.outF32(0, n), *m = args.outF32(2, n), *v = args.outF32(3, n);
  const float* grad = args.f32(1, scratch, n);
  const double lr = args.number(5), beta1 = args.number(6), beta2 = args.number(7), step = args.number(10);
  const graft::AdamW o = {float(args.number(4)), float(beta1), float(beta2), float(1 - beta2), float(1 - lr * args.number(9)),
                          float(1 / std::sqrt(1 - std::pow(beta2, step))), float(args.number(8)), float(lr / (1 - std::pow(beta1, step)))};
  graft::parallelFor(n, kGrain, [&](int64_t i, int64_t end) { graft::adamwLoop(param + i, grad + i, m + i, v + i, end - i, o); });
}

/** sgd(param, grad, momentum, gradScale, lr, momentumFactor, weightDecay, nesterov, step): momentum -1 for none. */
GRAFT_EXPORT(sgd) {
  graft::Scratch scratch;
  const int64_t n = args.count(0);
  float *param = args.outF32(0, n), *momentum = args.none(2) ? nullptr : args.outF32(2, n);
  const float* grad = args.f32(1, scratch, n);
  const graft::Sgd o = {float(args.number(3)), float(args.number(4)), float(args.number(5)), float(args.number(6)), args.flag(7), args.number(8) == 1};
  graft::parallelFor(n, kGrain, [&](int64_t i, int64_t end) { graft::sgdLoop(param + i, grad + i, momentum ? momentum + i : nullptr, end - i, o); });
}

/** copyFloats(x, y): y = x, whatever float storage x has. */
GRAFT_EXPORT(copyFloats) {
  graft::Scratch scratch;
  const int64_t n = args.count(0);
  const float* x = args.f32(0, scratch);
  float* y = args.outF32(1, n);
  if (n) std::memcpy(y, x, size_t(n) * 4);
}
