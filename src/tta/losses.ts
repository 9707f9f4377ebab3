import { tf, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';

/** H(p) = -Σ_c p_c ln p_c of each row of logits: [B]. */
export function entropy(z: Tensor2D): Tensor1D {
  const logp = tf.logSoftmax(z);
  return tf.neg(tf.sum(tf.mul(tf.exp(logp), logp), -1)) as Tensor1D;
}

/** -Σ_c ŷ_c ln softmax(z)_c of each row: [B]. */
export const softCrossEntropy = (target: Tensor, z: Tensor2D): Tensor1D => tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(z)), -1)) as Tensor1D;

/** H(mean_b p_b), a scalar; computed from log-probabilities, so that no probability underflows. */
export function marginalEntropy(z: Tensor2D): Tensor {
  const logp = tf.sub(tf.logSumExp(tf.logSoftmax(z), 0), Math.log(z.shape[0]));
  return tf.neg(tf.sum(tf.mul(tf.exp(logp), logp)));
}

/** The mean of the values over the rows of weight above 0, each times its weight; 0 where there are none. */
export function weightedMean(values: Tensor1D, weights: readonly number[]): Tensor {
  const rows = weights.filter((w) => w > 0).length;
  return tf.div(tf.sum(tf.mul(values, tf.tensor1d(weights as number[]))), Math.max(1, rows));
}

/** The option of methods that trust confident rows: E₀ as a share of ln C, the largest entropy. */
export const marginOption = (share: number) => ({ type: 'number', describe: 'rows count whose entropy is below this share of ln C', default: share, min: 0 }) as const;
