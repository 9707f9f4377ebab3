/** Batch normalisation over the last axis. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel, type GraftBackend } from '../backend.js';

type T = tf.TensorInfo;

function apply(backend: GraftBackend, x: T, mean: T | null, variance: T, gamma: T | null, beta: T | null, epsilon: number): T {
  const y = backend.output(x.shape);
  const handle = (t: T | null): number | null => (t ? backend.handle(t) : null);
  backend.native.batchNormApply(backend.handle(x), handle(mean), backend.handle(variance), handle(gamma), handle(beta), backend.handle(y), epsilon);
  return y;
}

defineKernel<{ varianceEpsilon: number }>('FusedBatchNorm', ({ inputs: { x, scale, offset, mean, variance }, attrs, backend }) =>
  apply(backend, x, mean, variance, scale ?? null, offset ?? null, attrs.varianceEpsilon));

defineKernel<{ epsilon: number }>('BatchNorm', ({ inputs: { x, mean, variance, gamma, beta }, attrs, backend }) =>
  apply(backend, x, mean, variance, gamma, beta, attrs.epsilon));

/** dy γ/√(σ² + ε). */
defineKernel<{ epsilon: number }>('BatchNormInputGrad', ({ inputs: { dy, variance, gamma }, attrs, backend }) =>
  apply(backend, dy, null, variance, gamma, null, attrs.epsilon));

/** The output and the batch's mean and variance. */
defineKernel<{ epsilon: number }>('BatchNormTrain', ({ inputs: { x, gamma, beta }, attrs, backend }) => {
  const mean = backend.output(gamma.shape), variance = backend.output(gamma.shape);
  backend.native.batchNormStatistics(backend.handle(x), backend.handle(mean), backend.handle(variance));
  return [apply(backend, x, mean, variance, gamma, beta, attrs.epsilon), mean, variance];
});

/** Σ dy and Σ dy (x - μ) per channel. */
defineKernel('BatchNormSums', ({ inputs: { x, dy, mean }, backend }) => {
  const sum = backend.output(mean.shape), products = backend.output(mean.shape);
  backend.native.batchNormSums(...[x, dy, mean, sum, products].map((t) => backend.handle(t)));
  return [sum, products];
});

defineKernel<{ epsilon: number }>('BatchNormTrainInputGrad', ({ inputs: i, attrs, backend }) => {
  const dx = backend.output(i.x.shape);
  const given = [i.x, i.dy, i.mean, i.variance, i.gamma, i.sum, i.products, i.dMean, i.dVariance, dx].map((t) => backend.handle(t));
  backend.native.batchNormTrainGradient(...given, attrs.epsilon);
  return dx;
});
