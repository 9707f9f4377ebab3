import * as tf from '@tensorflow/tfjs-core';

/** γ (x - μ)/√(σ² + ε) + β per channel with given statistics. x: [B, H, W, C]; the rest: [C]. */
export function batchNorm(x: tf.Tensor4D, mean: tf.Tensor1D, variance: tf.Tensor1D, gamma: tf.Tensor1D, beta: tf.Tensor1D, epsilon: number): tf.Tensor4D {
  const scale = tf.mul(gamma, tf.rsqrt(tf.add(variance, epsilon)));
  return tf.add(tf.mul(tf.sub(x, mean), scale), beta);
}

/**
 * The same with the batch's own statistics (biased variance, Ioffe & Szegedy, 2015), through which gradients flow.
 * Returns the output and the statistics, each [C].
 */
export function batchNormTrain(x: tf.Tensor4D, gamma: tf.Tensor1D, beta: tf.Tensor1D, epsilon: number): { y: tf.Tensor4D; mean: tf.Tensor1D; variance: tf.Tensor1D } {
  const { mean, variance } = tf.moments(x, [0, 1, 2]);
  return { y: batchNorm(x, mean as tf.Tensor1D, variance as tf.Tensor1D, gamma, beta, epsilon), mean: mean as tf.Tensor1D, variance: variance as tf.Tensor1D };
}
