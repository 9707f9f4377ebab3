import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from '../fused.js';

/**
 * γ ⊙ (x - μ)/√(σ² + ε) + β with mean and biased variance over all pixels of each of `groups` equal parts of the channels, an image at a
 * time (Wu & He, 2018). x: [B, H, W, C]; γ, β: [C].
 */
export function groupNorm(x: tf.Tensor4D, gamma: tf.Tensor1D, beta: tf.Tensor1D, groups: number, epsilon: number): tf.Tensor4D {
  const [B, H, W, C] = x.shape, count = (H * W * C) / groups, shape: [number, number, number] = [B, H * W, C];
  /** Sums over each group of what is there for every channel, [B, 1, C] with the groups' sums repeated. */
  const grouped = (perChannel: tf.Tensor): tf.Tensor3D => {
    const parts = tf.sum(tf.reshape(perChannel, [B, groups, C / groups]), 2, true);
    return tf.reshape(tf.tile(parts, [1, 1, C / groups]), [B, 1, C]) as tf.Tensor3D;
  };
  return withGradient<tf.Tensor4D>({ x, gamma, beta }, (save) => {
    const flat = tf.reshape(x, shape);
    const centred = tf.sub(flat, tf.div(grouped(tf.sum(flat, 1)), count));
    const rstd = tf.rsqrt(tf.add(tf.div(grouped(tf.sum(tf.square(centred), 1)), count), epsilon));
    save([centred, rstd, gamma]);
    return tf.reshape(tf.add(tf.mul(centred, tf.mul(rstd, gamma)), beta), x.shape);
  }, (dy, [centred, rstd, gammas]) => {
    const flat = tf.reshape(dy, shape);
    const sums = (): tf.Tensor => tf.reshape(tf.sum(flat, 1), [B, 1, C]);
    /** Σ dy x̂ over pixels. */
    const products = (): tf.Tensor => tf.mul(tf.reshape(tf.sum(tf.mul(flat, centred), 1), [B, 1, C]), rstd);
    return {
      x: () => {
        const mean = tf.div(grouped(tf.mul(gammas, sums())), count), slope = tf.div(grouped(tf.mul(gammas, products())), count);
        const own = tf.sub(tf.mul(flat, tf.mul(rstd, gammas)), tf.mul(rstd, mean));
        return tf.reshape(tf.sub(own, tf.mul(centred, tf.mul(tf.square(rstd), slope))), x.shape);
      },
      gamma: () => tf.reshape(tf.sum(products(), 0), [C]),
      beta: () => tf.reshape(tf.sum(sums(), 0), [C]),
    };
  });
}
