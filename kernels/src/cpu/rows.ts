/** Kernels over the rows of the last axis: softmax and its relatives, normalisation, cross-entropy, rotary embedding. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { defineKernel, type GraftBackend } from '../backend.js';
import { castTo } from './elementwise.js';
import { defineNumeric } from './numeric.js';

const last = (t: TensorInfo): number => t.shape[t.shape.length - 1] ?? 1;
const rowsOf = (t: TensorInfo): number[] => t.shape.slice(0, -1);

function checkLast(logits: TensorInfo, dim: number): void {
  if (dim !== -1 && dim !== logits.shape.length - 1) throw Error(`Softmax along a non-last dimension is not yet supported. Logits was rank ${logits.shape.length} and dim was ${dim}`);
}

for (const [name, f] of [['Softmax', 'softmax'], ['LogSoftmax', 'logSoftmax']] as const) {
  defineNumeric<{ dim?: number; axis?: number }>(name, ({ inputs: { logits }, attrs, backend }) => {
    checkLast(logits, attrs.dim ?? attrs.axis ?? -1);
    const x = castTo(backend, logits, 'float32');
    const y = backend.output(logits.shape);
    backend.native[f](backend.handle(x), backend.handle(y), last(logits));
    backend.release(x);
    return y;
  });
  defineKernel(`${name}Grad`, ({ inputs: { dy, y }, backend }) => {
    const dx = backend.output(y.shape);
    backend.native[`${f}Grad`](backend.handle(dy), backend.handle(y), backend.handle(dx), last(y));
    return dx;
  });
}

const handles = (backend: GraftBackend, ...tensors: TensorInfo[]): number[] => tensors.map((t) => backend.handle(t));

interface Norm { epsilon: number; centred: boolean }

defineKernel<Norm>('Norm', ({ inputs: { x, gamma, beta }, attrs: { epsilon, centred }, backend }) => {
  const [y, mean, rstd] = [x.shape, rowsOf(x), rowsOf(x)].map((shape) => backend.output(shape));
  backend.native.norm(...handles(backend, x, gamma), beta ? backend.handle(beta) : null, ...handles(backend, y, mean, rstd), epsilon, centred);
  return [y, mean, rstd];
});

defineKernel<{ centred: boolean }>('NormGrad', ({ inputs: { dy, x, gamma, mean, rstd }, attrs: { centred }, backend }) => {
  const dx = backend.output(x.shape);
  backend.native.normGrad(...handles(backend, dy, x, gamma, mean, rstd, dx), centred);
  return dx;
});

defineKernel('NormGammaGrad', ({ inputs: { dy, x, mean, rstd }, backend }) => {
  const dgamma = backend.output([last(x)]);
  backend.native.normGammaGrad(...handles(backend, dy, x, mean, rstd, dgamma));
  return dgamma;
});

interface CrossEntropy { ignoreIndex: number; labelSmoothing: number }

defineKernel<CrossEntropy>('CrossEntropy', ({ inputs: { logits, labels }, attrs: { ignoreIndex, labelSmoothing }, backend }) => {
  const [loss, logZ] = [backend.output(labels.shape), backend.output(labels.shape)];
  backend.native.crossEntropy(...handles(backend, logits, labels, loss, logZ), last(logits), ignoreIndex, labelSmoothing);
  return [loss, logZ];
});

defineKernel<CrossEntropy>('CrossEntropyGrad', ({ inputs: { dy, logits, labels, logZ }, attrs: { ignoreIndex, labelSmoothing }, backend }) => {
  const dx = backend.output(logits.shape);
  backend.native.crossEntropyGrad(...handles(backend, dy, logits, labels, logZ, dx), last(logits), ignoreIndex, labelSmoothing);
  return dx;
});

defineKernel<{ backward: boolean }>('Rotary', ({ inputs: { x, cos, sin }, attrs: { backward }, backend }) => {
  const [, T, H, dh] = x.shape;
  const y = backend.output(x.shape);
  backend.native.rotary(...handles(backend, x, cos, sin, y), T, H, dh, backward);
  return y;
});
