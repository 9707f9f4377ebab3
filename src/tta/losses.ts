import { tf, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';

/** H(p) = -Σ_c p_c ln p_c of each row of logits: [B]. */
export function entropy(z: Tensor2D): Tensor1D {
  const logp = tf.logSoftmax(z);
  return tf.neg(tf.sum(tf.mul(tf.exp(logp), logp), -1)) as Tensor1D;
}

/** -Σ_c ŷ_c ln softmax(z)_c of each row: [B]. */
export const softCrossEntropy = (target: Tensor, z: Tensor2D): Tensor1D => tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(z)), -1)) as Tensor1D;

/** ½ CE(softmax(b), a) + ½ CE(softmax(a), b) of each row of the logits a and b: [B] (Döbler et al., 2023, equation 2). */
export const symmetricCrossEntropy = (a: Tensor2D, b: Tensor2D): Tensor1D => tf.mul(0.5, tf.add(softCrossEntropy(tf.softmax(b), a), softCrossEntropy(tf.softmax(a), b)));

/** Rows of length 1, a row of zeros as it is: [B, d]. */
export const unitRows = (f: Tensor2D): Tensor2D => tf.div(f, tf.sqrt(tf.add(tf.sum(tf.square(f), -1, true), 1e-24)));

/**
 * The contrastive loss of views [B, d] each of the same B rows, of length 1 (Khosla et al., 2020): every row of every view is an anchor, its
 * positives are the other views of the row, and what it is told from are all rows but itself.
 */
export function contrastive(views: readonly Tensor2D[], temperature: number): Tensor {
  const B = views[0].shape[0], n = views.length, all = tf.concat([...views], 0);
  const self = tf.eye(n * B), same = tf.tile(tf.eye(B), [n, n]);
  const s = tf.div(tf.matMul(all, all, false, true), temperature);
  const logp = tf.sub(s, tf.logSumExp(tf.sub(s, tf.mul(self, 1e9)), 1, true));
  return tf.neg(tf.div(tf.sum(tf.mul(logp, tf.sub(same, self))), n * B * (n - 1)));
}

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
