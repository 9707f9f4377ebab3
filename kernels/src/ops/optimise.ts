import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, isFrozen, runKernel } from '../fused.js';

export interface AdamWOptions { lr: number; beta1: number; beta2: number; epsilon: number; weightDecay: number; /** 1 at the first step. */ step: number }
export interface SgdOptions { lr: number; momentum: number; nesterov: boolean; weightDecay: number; /** 1 at the first step. */ step: number }

/** What one AdamW step changes, and how; `gradScale` multiplies the gradient first (clipping). */
export interface AdamWStep { param: tf.Variable; grad: tf.Tensor; m: tf.Variable; v: tf.Variable; options: AdamWOptions; gradScale: number }

/**
 * One AdamW step (Loshchilov & Hutter, 2019, decoupled decay, as in PyTorch) of each tensor: `param`, `m` and `v` are updated in place.
 * Where the backend has a kernel, it goes through all of them at once.
 */
export function adamwSteps(steps: readonly AdamWStep[]): void {
  if (steps.length === 0) return;
  if (!hasKernel('GraftAdamW')) return steps.forEach(referenceStep);
  for (const { param, m, v } of steps) for (const variable of [param, m, v]) own(variable);
  const inputs = Object.fromEntries(steps.flatMap(({ param, grad, m, v }, i) => [param, grad, m, v].map((t, k) => [`${i}.${k}`, t])));
  runKernel<tf.Tensor[]>('GraftAdamW', inputs, { steps: steps.map(({ options, gradScale }) => ({ ...options, gradScale })) });
}

/** The same for one tensor. */
export function adamwStep(param: tf.Variable, grad: tf.Tensor, m: tf.Variable, v: tf.Variable, options: AdamWOptions, gradScale = 1): void {
  adamwSteps([{ param, grad, m, v, options, gradScale }]);
}

function referenceStep({ param, grad, m, v, options: o, gradScale }: AdamWStep): void {
  tf.tidy(() => {
    const g = tf.mul(grad, gradScale);
    m.assign(tf.add(tf.mul(m, o.beta1), tf.mul(g, 1 - o.beta1)));
    v.assign(tf.add(tf.mul(v, o.beta2), tf.mul(tf.square(g), 1 - o.beta2)));
    const denominator = tf.add(tf.div(tf.sqrt(v), Math.sqrt(1 - o.beta2 ** o.step)), o.epsilon);
    const stepSize = o.lr / (1 - o.beta1 ** o.step);
    param.assign(tf.sub(tf.mul(param, 1 - o.lr * o.weightDecay), tf.mul(tf.div(m, denominator), stepSize)));
  });
}

/** One SGD step as in PyTorch: decay added to the gradient, momentum buffer started with the first gradient; without momentum `momentum` is not touched. */
export function sgdStep(param: tf.Variable, grad: tf.Tensor, momentum: tf.Variable, o: SgdOptions, gradScale = 1): void {
  if (hasKernel('GraftSgd')) {
    const moving = o.momentum > 0 ? momentum : null;
    for (const variable of moving ? [param, moving] : [param]) own(variable);
    runKernel<tf.Tensor[]>('GraftSgd', { param, grad, momentum: moving }, { ...o, gradScale });
    return;
  }
  tf.tidy(() => {
    let g: tf.Tensor = tf.add(tf.mul(grad, gradScale), tf.mul(param, o.weightDecay));
    if (o.momentum > 0) {
      momentum.assign(o.step === 1 ? g : tf.add(tf.mul(momentum, o.momentum), g));
      g = o.nesterov ? tf.add(g, tf.mul(momentum, o.momentum)) : momentum;
    }
    param.assign(tf.sub(param, tf.mul(g, o.lr)));
  });
}

/** Gives a variable memory that nobody else reads: another tensor may share it, and a mapped weight is read-only. */
export function own(variable: tf.Variable): void {
  const { backend } = tf.engine();
  if (backend.refCount(variable.dataId) > 1 || isFrozen(variable)) tf.tidy(() => variable.assign(runKernel('GraftCopy', { x: variable })));
}

/**
 * Σ ‖g‖² over all tensors, the square of their global norm: a scalar, so that it can be read back with others. Where the backend has a kernel,
 * it goes through all of them at once; there is no gradient then.
 */
export function sumOfSquares(tensors: Iterable<tf.Tensor>): tf.Scalar {
  const all = [...tensors];
  if (hasKernel('GraftSumOfSquares')) return runKernel('GraftSumOfSquares', Object.fromEntries(all.map((t, i) => [String(i), t]))) as tf.Scalar;
  return tf.tidy(() => (all.length > 0 ? tf.addN(all.map((g) => tf.sum(tf.square(g)))) : tf.scalar(0))) as tf.Scalar;
}
