import * as tf from '@tensorflow/tfjs-core';
import { shared, withGradient } from '../fused.js';
import { linear } from './linear.js';
import { fusesProducts, product } from './product.js';

/** h + s·(x Aᵀ) Bᵀ, the LoRA branch (Hu et al., 2021, eq. 3). x: [..., in]; A: [r, in]; B: [out, r]; h: [..., out]. */
export function lowRank(h: tf.Tensor, x: tf.Tensor, A: tf.Tensor2D, B: tf.Tensor2D, s: number): tf.Tensor {
  if (!fusesProducts()) return tf.add(h, tf.mul(s, linear(linear(x, A), B)));
  const forward = (save: (tensors: tf.Tensor[]) => void): tf.Tensor => {
    const t = product(x, A, { transposeB: true });
    save([x, A, B, t]);
    return product(t, B, { transposeB: true, alpha: s }, h);
  };
  return withGradient({ h, x, A, B }, forward, (dy, [x, A, B, t]) => {
    const dt = shared(() => product(dy, B, { alpha: s }));
    return {
      h: () => tf.clone(dy),
      x: (before?: tf.Tensor) => product(dt(), A, {}, before),
      A: () => product(dt(), x, { transposeA: true }),
      B: () => product(dy, t, { transposeA: true, alpha: s }),
    };
  });
}
