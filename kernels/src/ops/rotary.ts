import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, withGradient } from '../fused.js';

/**
 * Rotary position embedding (Su et al., 2021) in the half-split form of Llama checkpoints:
 * x cos + rotate_half(x) sin. x: [B, T, H, dh]; cos, sin: [T, dh], constants to the gradient.
 */
export function rotary(x: tf.Tensor4D, cos: tf.Tensor2D, sin: tf.Tensor2D): tf.Tensor4D {
  if (!hasKernel('Rotary')) return reference(x, cos, sin);
  return withGradient<tf.Tensor>({ x }, (save) => {
    save([cos, sin]);
    return runKernel('Rotary', { x, cos, sin }, { backward: false });
  }, (dy, [c, s]) => ({ x: () => runKernel('Rotary', { x: dy, cos: c, sin: s }, { backward: true }) })) as tf.Tensor4D;
}

function reference(x: tf.Tensor4D, cos: tf.Tensor2D, sin: tf.Tensor2D): tf.Tensor4D {
  const [, T, , dh] = x.shape;
  const [first, second] = tf.split(x, 2, 3);
  const rotated = tf.concat([tf.neg(second), first], 3);
  const wide = (t: tf.Tensor2D): tf.Tensor => tf.reshape(t, [1, T, 1, dh]);
  return tf.add(tf.mul(x, wide(cos)), tf.mul(rotated, wide(sin)));
}
