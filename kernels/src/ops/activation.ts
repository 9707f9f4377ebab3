import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, withGradient } from '../fused.js';

export type Activation = 'none' | 'relu' | 'gelu' | 'gelu_new' | 'silu' | 'tanh' | 'sigmoid';

/** Native kernels; the gradient of each, `${kernel}Grad`, takes dy and this side of the activation. */
export const KERNELS: Record<Exclude<Activation, 'none'>, { kernel: string; from: 'x' | 'y' }> = {
  relu: { kernel: 'Relu', from: 'y' },
  tanh: { kernel: 'Tanh', from: 'y' },
  sigmoid: { kernel: 'Sigmoid', from: 'y' },
  gelu: { kernel: 'Gelu', from: 'x' },
  gelu_new: { kernel: 'GeluNew', from: 'x' },
  silu: { kernel: 'Silu', from: 'x' },
};

/** Element-wise. `gelu` is x Φ(x); `gelu_new` its tanh approximation (Hendrycks & Gimpel, 2016); `silu` x σ(x). */
export function activate<T extends tf.Tensor>(x: T, kind: Activation): T {
  if (kind === 'none') return x;
  const { kernel, from } = KERNELS[kind];
  if (!hasKernel(`${kernel}Grad`)) return reference(x, kind);
  return withGradient<tf.Tensor>({ x }, (save) => {
    const y = runKernel(kernel, { x });
    save([from === 'x' ? x : y]);
    return y;
  }, (dy, [saved]) => ({ x: () => activationGradient(kind, dy, saved) })) as T;
}

/** dy ⊙ act′, from the side of the activation that KERNELS names; where the backend has those kernels. */
export function activationGradient(kind: Exclude<Activation, 'none'>, dy: tf.Tensor, saved: tf.Tensor): tf.Tensor {
  const { kernel, from } = KERNELS[kind];
  return runKernel(`${kernel}Grad`, { dy, [from]: saved });
}

function reference<T extends tf.Tensor>(x: T, kind: Exclude<Activation, 'none'>): T {
  switch (kind) {
    case 'relu': return tf.relu(x);
    case 'tanh': return tf.tanh(x);
    case 'sigmoid': return tf.sigmoid(x);
    case 'silu': return tf.mul(x, tf.sigmoid(x)) as T;
    case 'gelu': return tf.mul(x, tf.add(tf.mul(tf.erf(tf.mul(x, Math.SQRT1_2)), 0.5), 0.5)) as T;
    case 'gelu_new': {
      const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.mul(x, tf.mul(x, x)))));
      return tf.mul(x, tf.mul(0.5, tf.add(1, tf.tanh(inner)))) as T;
    }
  }
}
