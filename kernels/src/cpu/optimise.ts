/** Optimiser steps, which change their variables in place. */
import type { AdamWOptions, SgdOptions } from '../ops/optimise.js';
import { defineKernel } from '../backend.js';

type Scaled<O> = O & { gradScale: number };

defineKernel<Scaled<AdamWOptions>>('GraftAdamW', ({ inputs: { param, grad, m, v }, attrs: o, backend }) => {
  const [p, g, first, second] = [param, grad, m, v].map((t) => backend.handle(t));
  backend.native.adamw(p, g, first, second, o.gradScale, o.lr, o.beta1, o.beta2, o.epsilon, o.weightDecay, o.step);
  return [];
});

defineKernel<Scaled<SgdOptions>>('GraftSgd', ({ inputs: { param, grad, momentum }, attrs: o, backend }) => {
  const moving = momentum ? backend.handle(momentum) : -1;
  backend.native.sgd(backend.handle(param), backend.handle(grad), moving, o.gradScale, o.lr, o.momentum, o.weightDecay, o.nesterov, o.step);
  return [];
});

defineKernel('GraftCopy', ({ inputs: { x }, backend }) => {
  const y = backend.output(x.shape);
  backend.native.copyFloats(backend.handle(x), backend.handle(y));
  return y;
});
