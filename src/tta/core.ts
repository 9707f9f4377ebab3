import { tf, untracked, type Tensor, type Tensor2D } from '@graft/kernels';
import { alphaOption } from './alpha-bn.js';
import { learner } from './learner.js';
import type { TtaMethod } from './method.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { mixed } from './statistics.js';

/**
 * Core over α-BN (You et al., 2021): γ, β of the normalisation layers learn to tell the classes of a batch apart, by the correlation of
 * its predictions. The paper's loss is not at hand; this is a reconstruction from its abstract. The logits are those before the update.
 */
const core: TtaMethod<AdamConfig & { alphaSource: number }> = {
  name: 'core',
  summary: 'decorrelation of classes over a mixture of stored and batch statistics',
  dense: true,
  paper: { title: 'Test-time Batch Statistics Calibration for Covariate Shift', authors: 'You, Li, Zhao', year: 2021, url: 'https://arxiv.org/abs/2110.04065' },
  options: { ...adamOptions(1e-3), alphaSource: alphaOption(0.9) },
  start(source, { alphaSource, ...rates }) {
    const network = source.copy(source.affine(), mixed(alphaSource));
    const training = learner(network, adam(network.own, rates));
    return {
      ...training,
      step: (x) => training.descend(() => {
        const z = network.logits(x);
        return { loss: classCorrelation(tf.softmax(z)), kept: z };
      }),
    };
  },
};

/** (1/C) Σ_i Σ_{j≠i} R_ij / Σ_k R_ik with R = Pᵀ P; a class without probability (below 1e-8) counts 1 - 1/C. P: [B, C]. */
export function classCorrelation(P: Tensor2D): Tensor {
  const C = P.shape[1], R = tf.matMul(P, P, true, false), sums = tf.sum(R, 1);
  const empty = untracked(() => tf.cast(tf.less(sums, 1e-8), 'float32'));
  const own = tf.div(tf.sum(tf.mul(R, tf.eye(C)), 1), tf.add(sums, empty));
  return tf.mean(tf.add(tf.mul(tf.sub(1, own), tf.sub(1, empty)), tf.mul(empty, 1 - 1 / C)));
}

export default core;
