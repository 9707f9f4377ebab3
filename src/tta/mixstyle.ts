import { tf, untracked, type Rng, type Tensor } from '@graft/kernels';
import { beta } from '../deviates.js';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';

/** One draw of MixStyle: the block whose output it mixes, and by row of the batch, λ and the row it is mixed with. */
export interface Mix { after: string; lambda: Float32Array; partner: Int32Array }

/**
 * The last block of each stage: of the blocks between two changes of the width, or, where the width never changes, of each quarter.
 */
export function stageEnds(model: Model): Site[] {
  const blocks = model.sites.filter((s) => s.kind === 'block'), ends = blocks.filter(({ dimOut }, i) => blocks[i + 1]?.dimOut !== dimOut);
  return ends.length > 1 ? ends : [...new Set([1, 2, 3, 4].map((q) => blocks[Math.ceil((q * blocks.length) / 4) - 1]))];
}

/** After one of the first two stages, λ ~ Beta(0.1, 0.1) for each of B rows, and partners a permutation of them. */
export function drawMix(stages: readonly Site[], B: number, rng: Rng): Mix {
  const after = stages[rng.integer(Math.min(2, stages.length))].name;
  return { after, lambda: Float32Array.from({ length: B }, () => beta(0.1, 0.1, rng)), partner: Int32Array.from(rng.permutation(B)) };
}

/**
 * MixStyle (Zhou et al., 2021): σ_mix (x - μ)/σ + μ_mix with the mean and deviation (unbiased) of each row and channel over its places, mixed
 * with those of the partner by λ; no gradient flows through them. x: [B, ..., C].
 */
export function mixStyle(x: Tensor, { lambda, partner }: Mix): Tensor {
  const places = x.shape.slice(1, -1), n = places.reduce((a, b) => a * b, 1);
  const [mean, deviation, meanMix, deviationMix] = untracked(() => {
    const { mean, variance } = tf.moments(x, places.map((_, i) => i + 1), true);
    const own = [mean, tf.sqrt(tf.add(tf.mul(variance, n / Math.max(1, n - 1)), 1e-6))];
    const share = tf.reshape(tf.tensor1d(lambda), [-1, ...x.shape.slice(1).map(() => 1)]), rows = tf.tensor1d(partner, 'int32');
    return [...own, ...own.map((t) => tf.add(tf.mul(share, t), tf.mul(tf.sub(1, share), tf.gather(t, rows))))];
  });
  return tf.add(tf.mul(tf.div(tf.sub(x, mean), deviation), deviationMix), meanMix);
}
