/** Optimiser steps, which change their variables in place. */
import type { AdamWOptions, SgdOptions } from '../ops/optimise.js';
import { defineKernel } from '../backend.js';

type Scaled<O> = O & { gradScale: number };

/** Inputs: param, grad, m, v of each tensor in turn. */
defineKernel<{ steps: readonly Scaled<AdamWOptions>[] }>('GraftAdamW', ({ inputs, attrs: { steps }, backend }) => {
  const numbers = steps.flatMap((o) => [o.gradScale, o.lr, o.beta1, o.beta2, o.epsilon, o.weightDecay, o.step]);
  backend.native.adamw(Object.values(inputs).map((t) => backend.handle(t)), Float64Array.from(numbers));
  return [];
});

defineKernel<Scaled<SgdOptions>>('GraftSgd', ({ inputs: { param, grad, momentum }, attrs: o, backend }) => {
  const moving = momentum ? backend.handle(momentum) : -1;
  backend.native.sgd(backend.handle(param), backend.handle(grad), moving, o.gradScale, o.lr, o.momentum, o.weightDecay, o.nesterov, o.step);
  return [];
});

defineKernel('GraftSumOfSquares', ({ inputs, backend }) => {
  const y = backend.output([]);
  backend.native.sumOfSquares(Object.values(inputs).map((t) => backend.handle(t)), backend.handle(y));
  return y;
});

defineKernel('GraftCopy', ({ inputs: { x }, backend }) => {
  const y = backend.output(x.shape);
  backend.native.copyFloats(backend.handle(x), backend.handle(y));
  return y;
});
