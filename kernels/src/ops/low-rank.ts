import * as tf from '@tensorflow/tfjs-core';
import { linear } from './linear.js';

/** h + s·(x Aᵀ) Bᵀ, the LoRA branch (Hu et al., 2021, eq. 3). x: [..., in]; A: [r, in]; B: [out, r]; h: [..., out]. */
export function lowRank(h: tf.Tensor, x: tf.Tensor, A: tf.Tensor2D, B: tf.Tensor2D, s: number): tf.Tensor {
  return tf.add(h, tf.mul(s, linear(linear(x, A), B)));
}
