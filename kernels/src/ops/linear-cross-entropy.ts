import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, isConstant, recording, runKernel, withGradient } from '../fused.js';
import { crossEntropy, type CrossEntropyOptions } from './cross-entropy.js';
import { linear } from './linear.js';
import { fusesProducts, product } from './product.js';

export interface LinearCrossEntropyOptions extends CrossEntropyOptions {
  /** How many bytes the logits at hand may take. Default 32 MiB, on a GPU 256 MiB. */
  logitBytes?: number;
}

/**
 * crossEntropy(x Wᵀ + b, labels) for x [N, d], a frozen W [V, d] and labels [N]: [N], without logits of all rows. They are formed for
 * some rows at a time and turned into the rows' losses and, where gradients are recorded, into (softmax - target) W, which is all
 * that is kept: the gradient to x is dy times that. Where W or b is trained, the logits are formed whole.
 */
export function linearCrossEntropy(x: tf.Tensor2D, W: tf.Tensor2D, b: tf.Tensor1D | null, labels: tf.Tensor1D, options: LinearCrossEntropyOptions = {}): tf.Tensor1D {
  const frozen = isConstant(W) && (b === null || isConstant(b) || !recording());
  if (!frozen || !fusesProducts() || !hasKernel('CrossEntropy')) return crossEntropy(linear(x, W, b) as tf.Tensor2D, labels, options);
  const { ignoreIndex = -100, labelSmoothing = 0, logitBytes = defaultBytes() } = options, attrs = { ignoreIndex, labelSmoothing };
  const [N, d] = x.shape, step = Math.max(1, Math.floor(logitBytes / 4 / W.shape[0]));
  const part = (first: number, active: boolean): tf.Tensor[] => tf.tidy(() => {
    const rows = Math.min(step, N - first), ids = tf.cast(tf.slice(labels, [first], [rows]), 'int32');
    const logits = product(tf.slice(x, [first, 0], [rows, d]), W, { transposeB: true }, null, b);
    const [loss, logZ] = runKernel<tf.Tensor[]>('CrossEntropy', { logits, labels: ids }, attrs);
    if (!active) return [loss];
    return [loss, product(runKernel('CrossEntropyGrad', { dy: tf.ones([rows]), logits, labels: ids, logZ }, attrs), W)];
  });
  return withGradient<tf.Tensor>({ x }, (save, active) => {
    const parts: tf.Tensor[][] = [];
    for (let first = 0; first === 0 || first < N; first += step) parts.push(part(first, active));
    const [losses, gradients] = [0, 1].map((i) => parts.map((p) => p[i]));
    if (active) save([whole(gradients)]);
    return whole(losses);
  }, (dy, [perRow]) => ({ x: () => tf.mul(perRow, tf.reshape(dy, [N, 1])) })) as tf.Tensor1D;
}

const whole = (parts: tf.Tensor[]): tf.Tensor => (parts.length === 1 ? parts[0] : tf.concat(parts, 0));

const defaultBytes = (): number => (tf.getBackend() === 'graft-cuda' ? 256 : 32) << 20;
