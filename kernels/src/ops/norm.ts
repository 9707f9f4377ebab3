import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, withGradient } from '../fused.js';

/** γ ⊙ (x - μ)/√(σ² + ε) + β over the last axis, σ² biased (Ba et al., 2016). x: [..., d]; γ, β: [d]. */
export function layerNorm(x: tf.Tensor, gamma: tf.Tensor1D, beta: tf.Tensor1D, epsilon: number): tf.Tensor {
  if (hasKernel('Norm')) return norm(x, gamma, beta, epsilon);
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon))), gamma), beta);
}

/** γ ⊙ x/√(mean(x²) + ε) over the last axis (Zhang & Sennrich, 2019). x: [..., d]; γ: [d]. */
export function rmsNorm(x: tf.Tensor, gamma: tf.Tensor1D, epsilon: number): tf.Tensor {
  if (hasKernel('Norm')) return norm(x, gamma, null, epsilon);
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon))), gamma);
}

/** Layer norm, or RMS norm where there is no β. Keeps the rows' μ and 1/√(σ² + ε) for the gradient, not x̂. */
function norm(x: tf.Tensor, gamma: tf.Tensor1D, beta: tf.Tensor1D | null, epsilon: number): tf.Tensor {
  const centred = beta !== null;
  return withGradient<tf.Tensor>({ x, gamma, beta }, (save) => {
    const [y, mean, rstd] = runKernel<tf.Tensor[]>('Norm', { x, gamma, beta }, { epsilon, centred });
    save([x, gamma, mean, rstd]);
    return y;
  }, (dy, [xs, gammas, mean, rstd]) => ({
    x: () => runKernel('NormGrad', { dy, x: xs, gamma: gammas, mean, rstd }, { centred }),
    gamma: () => runKernel('NormGammaGrad', { dy, x: xs, mean, rstd }),
    beta: () => tf.sum(tf.reshape(dy, [-1, gammas.size]), 0),
  }));
}
