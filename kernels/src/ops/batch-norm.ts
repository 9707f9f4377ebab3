import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, isConstant, runKernel, withGradient } from '../fused.js';

type Vector = tf.Tensor1D;

/** γ (x - μ)/√(σ² + ε) + β per channel with given statistics. x: [B, H, W, C]; the rest: [C]. */
export function batchNorm(x: tf.Tensor4D, mean: Vector, variance: Vector, gamma: Vector, beta: Vector, epsilon: number): tf.Tensor4D {
  if (!hasKernel('BatchNorm')) return reference(x, mean, variance, gamma, beta, epsilon);
  return withGradient<tf.Tensor4D>(
    { x, mean, variance, gamma, beta },
    (save) => {
      // Only the gradients of γ, μ and σ² read x.
      save([mean, variance, gamma, ...([mean, variance, gamma].every(isConstant) ? [] : [x])]);
      return runKernel('BatchNorm', { x, mean, variance, gamma, beta }, { epsilon });
    },
    (dy, [mean, variance, gamma, x]) => {
      const [sum, products] = x ? runKernel<tf.Tensor[]>('BatchNormSums', { x, dy, mean }) : [];
      const rstd = (): tf.Tensor => tf.rsqrt(tf.add(variance, epsilon));
      return {
        x: () => runKernel('BatchNormInputGrad', { dy, variance, gamma }, { epsilon }),
        mean: () => tf.neg(tf.mul(sum, tf.mul(gamma, rstd()))),
        variance: () => tf.mul(-0.5, tf.mul(products, tf.mul(gamma, tf.pow(rstd(), 3)))),
        gamma: () => tf.mul(products, rstd()),
        beta: () => sum ?? tf.sum(dy, [0, 1, 2]),
      };
    },
  );
}

/**
 * The same with the batch's own statistics (biased variance, Ioffe & Szegedy, 2015), through which gradients flow.
 * Returns the output and the statistics, each [C].
 */
export function batchNormTrain(x: tf.Tensor4D, gamma: Vector, beta: Vector, epsilon: number): { y: tf.Tensor4D; mean: Vector; variance: Vector } {
  if (!hasKernel('BatchNormTrain')) return referenceTrain(x, gamma, beta, epsilon);
  const [y, mean, variance] = withGradient<tf.Tensor[]>(
    { x, gamma, beta },
    (save) => {
      const outputs = runKernel<tf.Tensor[]>('BatchNormTrain', { x, gamma, beta }, { epsilon });
      save([x, gamma, outputs[1], outputs[2]]);
      return outputs;
    },
    ([dy, dMean, dVariance], [x, gamma, mean, variance]) => {
      const [sum, products] = runKernel<tf.Tensor[]>('BatchNormSums', { x, dy, mean });
      return {
        x: () => runKernel('BatchNormTrainInputGrad', { x, dy, mean, variance, gamma, sum, products, dMean, dVariance }, { epsilon }),
        gamma: () => tf.mul(products, tf.rsqrt(tf.add(variance, epsilon))),
        beta: () => sum,
      };
    },
  );
  return { y: y as tf.Tensor4D, mean: mean as Vector, variance: variance as Vector };
}

function reference(x: tf.Tensor4D, mean: Vector, variance: Vector, gamma: Vector, beta: Vector, epsilon: number): tf.Tensor4D {
  const scale = tf.mul(gamma, tf.rsqrt(tf.add(variance, epsilon)));
  return tf.add(tf.mul(tf.sub(x, mean), scale), beta);
}

function referenceTrain(x: tf.Tensor4D, gamma: Vector, beta: Vector, epsilon: number): { y: tf.Tensor4D; mean: Vector; variance: Vector } {
  const moments = tf.moments(x, [0, 1, 2]);
  const [mean, variance] = [moments.mean as Vector, moments.variance as Vector];
  return { y: reference(x, mean, variance, gamma, beta, epsilon), mean, variance };
}
