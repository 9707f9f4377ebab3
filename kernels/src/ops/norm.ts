import * as tf from '@tensorflow/tfjs-core';

/** γ ⊙ (x - μ)/√(σ² + ε) + β over the last axis, σ² biased (Ba et al., 2016). x: [..., d]; γ, β: [d]. */
export function layerNorm(x: tf.Tensor, gamma: tf.Tensor1D, beta: tf.Tensor1D, epsilon: number): tf.Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon))), gamma), beta);
}

/** γ ⊙ x/√(mean(x²) + ε) over the last axis (Zhang & Sennrich, 2019). x: [..., d]; γ: [d]. */
export function rmsNorm(x: tf.Tensor, gamma: tf.Tensor1D, epsilon: number): tf.Tensor {
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon))), gamma);
}
