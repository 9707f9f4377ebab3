import { batchNorm, batchNormTrain, tf, type Tensor, type Tensor1D, type Tensor4D, type Variable } from '@graft/kernels';
import type { Method } from '../adapters/method.js';
import { normaliseInTraining } from '../models/batch-norm.js';
import type { Pass, Site, SiteCall } from '../models/site.js';

/** How batch normalisation takes its statistics. Layer and group normalisation have none to change. */
export type Statistics = Method;

export const isBatchNorm = (site: Site): boolean => site.kind === 'norm' && site.norm!.type === 'batch';

/** Names of a site's running statistics. */
export const buffersOf = (site: Site): [mean: string, variance: string] => [`${site.name}.running_mean`, `${site.name}.running_var`];

const statistics = (name: string, change?: (call: SiteCall) => Tensor): Statistics =>
  ({ name, summary: '', paper: null, options: {}, params: () => [], sites: (model) => (change ? model.sites.filter(isBatchNorm) : []), change });

const affine = ({ site, pass }: SiteCall): [Tensor1D, Tensor1D] => [pass.weight(site.weight!) as Tensor1D, pass.weight(site.bias!) as Tensor1D];
const running = (site: Site, pass: Pass): [Variable, Variable] => buffersOf(site).map((name) => pass.weight(name)) as [Variable, Variable];

/** The stored statistics. */
export const STORED = statistics('stored-statistics');

/** Those of the batch at hand, with the biased variance; running buffers are neither read nor updated. */
export const BATCH = statistics('batch-statistics', (call) => batchNormTrain(call.x as Tensor4D, ...affine(call), call.site.norm!.epsilon).y);

/** Those of the batch, in training: running statistics, which must be the network's own variables, move towards them as PyTorch has it (momentum 0.1, unbiased). */
export const TRAINING = statistics('training-statistics', (call) => normaliseInTraining(call.x, ...affine(call), call.site.norm!.epsilon, running(call.site, call.pass)));

/**
 * μ = α μ_s + (1 - α) μ_t and σ² = α σ²_s + (1 - α) σ²_t of the stored (s) and the batch's (t, biased) statistics. Gradients flow
 * through the batch's. `keep`: the mixture becomes what is stored, which must be the network's own variables.
 */
export function mixed(alpha: number, { keep = false } = {}): Statistics {
  return statistics('mixed-statistics', (call) => {
    const { site, pass } = call, { epsilon } = site.norm!, x = call.x as Tensor4D, [gamma, beta] = affine(call);
    const batch = batchNormTrain(x, gamma, beta, epsilon), stored = running(site, pass);
    const [mean, variance] = [batch.mean, batch.variance].map((t, i) => tf.add(tf.mul(stored[i], alpha), tf.mul(t, 1 - alpha)) as Tensor1D);
    if (keep) [mean, variance].forEach((t, i) => stored[i].assign(t));
    return batchNorm(x, mean, variance, gamma, beta, epsilon);
  });
}

/** sign(x) max(|x| - λ, 0) */
export const softShrink = (x: Tensor, lambda: Tensor): Tensor => tf.mul(tf.sign(x), tf.relu(tf.sub(tf.abs(x), lambda)));

/**
 * Instance-aware batch normalisation (Gong et al., 2022, NOTE, §3.1): an instance's own statistics where they leave the k-fold standard
 * error of the common ones. Common are the stored statistics, or, with `momentum`, the batch's (unbiased), which then also move the stored.
 */
export function instanceAware(k: number, momentum?: number): Statistics {
  return statistics('instance-aware-statistics', (call) => {
    const { site, pass } = call, { epsilon } = site.norm!, x = call.x as Tensor4D, [gamma, beta] = affine(call);
    const stored = running(site, pass), common = momentum === undefined ? stored : unbiased(x, [0, 1, 2]);
    if (momentum !== undefined) stored.forEach((s, i) => s.assign(tf.add(tf.mul(s, 1 - momentum), tf.mul(tf.reshape(common[i], s.shape), momentum))));
    const [mean, variance] = instanceStatistics(x, common, k, epsilon);
    return tf.add(tf.mul(tf.sub(x, mean), tf.mul(tf.rsqrt(tf.add(variance, epsilon)), gamma)), beta);
  });
}

/** μ = μ_b + ψ(μ_i - μ_b; k s_μ) and σ² = max(0, σ²_b + ψ(σ²_i - σ²_b; k s_σ²)), each [B, 1, 1, C], or the common ones [C] where an instance is one pixel. */
export function instanceStatistics(x: Tensor4D, [meanB, varianceB]: readonly Tensor[], k: number, epsilon: number): Tensor[] {
  const n = x.shape[1] * x.shape[2];
  if (n <= 1) return [meanB, varianceB];
  const [meanI, varianceI] = unbiased(x, [1, 2]), level = tf.add(varianceB, epsilon);
  const mean = tf.add(meanB, softShrink(tf.sub(meanI, meanB), tf.mul(k, tf.sqrt(tf.div(level, n)))));
  const variance = tf.add(varianceB, softShrink(tf.sub(varianceI, varianceB), tf.mul(k * Math.sqrt(2 / (n - 1)), level)));
  return [mean, tf.relu(variance)];
}

/** Mean and unbiased variance over some axes, which are kept. */
function unbiased(x: Tensor4D, axes: number[]): Tensor[] {
  const { mean, variance } = tf.moments(x, axes, true), n = axes.reduce((p, a) => p * x.shape[a], 1);
  return [mean, tf.mul(variance, n / Math.max(1, n - 1))];
}

/** The mean of n values and the sum of their squared distances from it, from those of the first n - 1 (Welford's recurrence). */
export function onward(mean: Tensor, squares: Tensor, value: Tensor, n: number): [mean: Tensor, squares: Tensor] {
  const off = tf.sub(value, mean), moved = tf.add(mean, tf.div(off, n));
  return [moved, tf.add(squares, tf.mul(off, tf.sub(value, moved)))];
}
