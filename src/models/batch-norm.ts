import { batchNormTrain, tf, untracked, type Tensor, type Tensor1D, type Tensor4D, type Variable } from '@graft/kernels';

/** PyTorch's momentum of running statistics. */
const MOMENTUM = 0.1;

/**
 * Batch normalisation in training: with the statistics of the batch, towards which the running ones move as PyTorch has it (variances
 * unbiased). x: [B, H, W, C].
 */
export function normaliseInTraining(x: Tensor, gamma: Tensor1D, beta: Tensor1D, epsilon: number, running: readonly [mean: Variable, variance: Variable]): Tensor {
  const { y, mean, variance } = batchNormTrain(x as Tensor4D, gamma, beta, epsilon), n = x.size / gamma.size;
  untracked(() => [mean, tf.mul(variance, n / Math.max(1, n - 1))].forEach((t, i) => running[i].assign(tf.add(tf.mul(running[i], 1 - MOMENTUM), tf.mul(t, MOMENTUM)))));
  return y;
}
