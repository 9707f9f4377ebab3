import * as tf from '@tensorflow/tfjs-core';

/**
 * Rotary position embedding (Su et al., 2021) in the half-split form of Llama checkpoints:
 * x cos + rotate_half(x) sin. x: [B, T, H, dh]; cos, sin: [T, dh].
 */
export function rotary(x: tf.Tensor4D, cos: tf.Tensor2D, sin: tf.Tensor2D): tf.Tensor4D {
  const [, T, , dh] = x.shape;
  const [first, second] = tf.split(x, 2, 3);
  const rotated = tf.concat([tf.neg(second), first], 3);
  const wide = (t: tf.Tensor2D): tf.Tensor => tf.reshape(t, [1, T, 1, dh]);
  return tf.add(tf.mul(x, wide(cos)), tf.mul(rotated, wide(sin)));
}
