import { scoped, symmetricEigen, tf, type Tensor, type Tensor1D, type Tensor2D, type Tensor3D } from '@graft/kernels';
import { dataError } from '../errors.js';
import { learner } from './learner.js';
import type { SourceBatch, TtaMethod } from './method.js';
import type { Source } from './network.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { sourceOption } from './prepared.js';
import { BATCH, STORED } from './statistics.js';

interface Config extends AdamConfig, Record<string, unknown> { epsilon: number; sourceData?: string }

/**
 * CAFA (Jung et al., 2023): γ, β of the normalisation layers bring each feature closer to the source's Gaussian of its predicted class than
 * to those of all classes: L = mean_i ln(D(f_i; ŷ_i) / Σ_c D(f_i; c)) with D(f; c) = (f - μ_c)ᵀ Σ_c⁻¹ (f - μ_c). The optimiser's settings
 * and the shrinkage of Σ_c where images are few are not the paper's. The logits are those before the update.
 */
const cafa: TtaMethod<Config> = {
  name: 'cafa',
  summary: 'features drawn to the source\'s Gaussian of their class and away from the others',
  paper: { title: 'CAFA: Class-Aware Feature Alignment for Test-Time Adaptation', authors: 'Jung, Lee, Kim, Shaban, Boots, Choo', year: 2023, url: 'https://arxiv.org/abs/2206.00205' },
  options: {
    ...adamOptions(1e-3),
    epsilon: { type: 'number', describe: 'added to the variance of every feature; 0.1 where a class has fewer images than there are features', default: 1e-5, min: 0 },
    sourceData: sourceOption('with labels, for the mean and covariance of each class'),
  },
  needsSource: true,
  labelled: true,
  prepare: (source, batches, { epsilon }) => gaussians(source, batches, epsilon),
  start(source, rates, _seed, prepared) {
    const network = source.copy(source.affine(), BATCH);
    const training = learner(network, adam(network.own, rates));
    const [mu, whiten] = [prepared!.get('mu') as Tensor2D, prepared!.get('whiten') as Tensor3D];
    return {
      ...training,
      step: (x) => training.descend(() => {
        const { features, logits } = network.predict(x);
        return { loss: classAwareLoss(mahalanobis(features, mu, whiten), tf.argMax(logits, -1) as Tensor1D), kept: logits };
      }),
    };
  },
};

/** D [C, B] of features [B, d]: squared lengths after whitening by class. mu: [C, d]; whiten: [C, d, d], its product with its transpose Σ_c⁻¹. */
export function mahalanobis(features: Tensor2D, mu: Tensor2D, whiten: Tensor3D): Tensor2D {
  const apart = tf.sub(tf.expandDims(features, 0), tf.expandDims(mu, 1));
  return tf.sum(tf.square(tf.matMul(apart as Tensor3D, whiten)), -1) as Tensor2D;
}

/** mean_i ln(D_ŷi / Σ_c D_ci), D at least 1e-12. */
export function classAwareLoss(D: Tensor2D, labels: Tensor1D): Tensor {
  const [C] = D.shape, own = tf.sum(tf.mul(D, tf.transpose(tf.oneHot(labels, C))), 0);
  return tf.mean(tf.sub(tf.log(tf.maximum(own, 1e-12)), tf.log(tf.maximum(tf.sum(D, 0), 1e-12))));
}

/** Of each class, the mean of its features and what whitens them. @throws GraftError (65) for a class without an image */
function gaussians(source: Source, batches: readonly SourceBatch[], epsilon: number): Map<string, Tensor> {
  const network = source.copy([], STORED), rows: number[][][] = Array.from({ length: source.classes }, () => []);
  for (const { pixels, labels } of batches) {
    const features = scoped(() => network.predict(pixels).features.arraySync() as number[][]);
    labels!.dataSync().forEach((k, i) => rows[k].push(features[i]));
  }
  network.dispose();
  const empty = rows.findIndex((r) => r.length === 0);
  if (empty >= 0) throw dataError(`--source-data: holds no image of class ${source.head.labels?.[empty] ?? empty}`);
  const { mu, whiten } = classGaussians(rows, epsilon);
  const d = mu[0].length;
  return new Map<string, Tensor>([['mu', tf.tensor2d(mu)], ['whiten', tf.tensor3d(Float32Array.from(whiten.flatMap((w) => [...w])), [rows.length, d, d])]]);
}

/**
 * μ_c, and V Λ^{-1/2} (d × d) of Σ_c + εI = V Λ Vᵀ. A class of n ≤ d rows takes ρ of the covariance within all classes instead,
 * ρ = d/(d + n), as its own has no inverse.
 * @param rows features by class
 */
export function classGaussians(rows: readonly (readonly number[][])[], epsilon: number): { mu: number[][]; whiten: Float64Array[] } {
  const d = rows[0][0].length;
  const mu = rows.map((own) => Array.from({ length: d }, (_, j) => own.reduce((s, f) => s + f[j], 0) / own.length));
  const scatter = rows.map((own, c) => outerSum(own, mu[c]));
  const all = rows.reduce((n, own) => n + own.length, 0);
  const tied = Float64Array.from({ length: d * d }, (_, i) => scatter.reduce((s, S) => s + S[i], 0) / all);
  const whiten = scatter.map((S, c) => {
    const n = rows[c].length, rho = n > d ? 0 : d / (d + n);
    const { values, vectors } = symmetricEigen(S.map((v, i) => (1 - rho) * (v / n) + rho * tied[i] + (i % (d + 1) === 0 ? epsilon : 0)), d);
    // Eigenvectors are rows; a variance that rounding made negative counts as the smallest there is.
    return Float64Array.from({ length: d * d }, (_, i) => vectors[(i % d) * d + Math.floor(i / d)] / Math.sqrt(Math.max(values[i % d], 1e-12)));
  });
  return { mu, whiten };
}

/** Σ (f - μ)(f - μ)ᵀ, flat. */
function outerSum(rows: readonly number[][], mu: readonly number[]): Float64Array {
  const d = mu.length, sum = new Float64Array(d * d);
  for (const f of rows) {
    const apart = f.map((v, j) => v - mu[j]);
    apart.forEach((a, i) => { if (a !== 0) for (let j = 0; j < d; j++) sum[i * d + j] += a * apart[j]; });
  }
  return sum;
}

export default cafa;
