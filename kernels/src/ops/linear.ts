import * as tf from '@tensorflow/tfjs-core';
import { activate, type Activation } from './activation.js';

export interface LinearOptions {
  activation?: Activation;
  /** 'oi': W is (out, in) as in PyTorch's Linear (default); 'io': (in, out) as in GPT-2's Conv1D. */
  layout?: 'oi' | 'io';
}

/** y = act(x Wᵀ + b). x: [..., in]; W: [out, in]; b: [out] or null; y: [..., out]. */
export function linear(x: tf.Tensor, W: tf.Tensor2D, b: tf.Tensor1D | null = null, options: LinearOptions = {}): tf.Tensor {
  const oi = options.layout !== 'io';
  const [dimIn, dimOut] = oi ? [W.shape[1], W.shape[0]] : W.shape;
  const flat = tf.reshape(x, [-1, dimIn]) as tf.Tensor2D;
  let y = tf.matMul(flat, W, false, oi) as tf.Tensor;
  if (b) y = tf.add(y, b);
  return tf.reshape(activate(y, options.activation ?? 'none'), [...x.shape.slice(0, -1), dimOut]);
}
