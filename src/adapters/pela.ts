import { linear, svd, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Site } from '../models/site.js';
import { trainedWhole } from './full.js';
import { asStored, inputFirst } from './low-rank.js';
import type { AuxiliaryCall, Method } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface PelaConfig extends Targets {
  /** c */
  ratio: number;
  /** α */
  distill: number;
  /** λ */
  perturb: number;
  /** ε */
  tolerance: number;
}

/** Layers with fewer outputs are left whole. */
const LEAST_OUTPUTS = 10;

/**
 * PELA: every dense weight W [out, in] becomes left [out, r] · right [r, in] with r = ⌊in·out / (c·(in + out))⌋, started from its singular value
 * decomposition, left = U_r √S_r and right = √S_r V_rᵀ; everything else is trained whole, so the graft is the small model. Its first training
 * repairs the damage with L = L_task + α·L_fd + λ·L_wp: L_fd the mean over blocks of the squared difference between their outputs and those of
 * the frozen model, L_wp that of (max|left·right − W| − ε)² over the weights. Trainings after that are as usual. What earlier grafts change in a
 * weight it replaces is replaced with it.
 */
const pela: Method<PelaConfig> = {
  name: 'pela',
  summary: 'every dense weight replaced by two thin ones, and the model trained to compute what it did (PELA)',
  factored: true,
  paper: { title: 'PELA: Learning Parameter-Efficient Models with Low-Rank Approximation', authors: 'Guo et al.', year: 2023, url: 'https://arxiv.org/abs/2310.10700' },
  options: {
    ratio: { type: 'number', default: 2, min: 1, describe: 'compression ratio c of the weights' },
    distill: { type: 'number', default: 1, min: 0, describe: 'alpha: weight of the difference between block outputs and those of the frozen model, in the first training' },
    perturb: { type: 'number', default: 0, min: 0, describe: 'lambda: weight of the largest difference from each weight, likewise' },
    tolerance: { type: 'number', default: 1e-3, min: 0, describe: 'epsilon: a difference that costs nothing' },
    ...targetOptions,
  },

  resolve: (config) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : ['all-linear'] }),

  sites: (model, config) => targetSites(model, config, ['linear']).filter((s) => s.dimOut >= LEAST_OUTPUTS),

  params(site, config) {
    const r = rankOf(site, config.ratio);
    if (r < 1) throw usageError(`pela: --ratio ${config.ratio} leaves no rank for ${site.name}, which is ${site.dimIn} to ${site.dimOut}`);
    const factor = (which: 'left' | 'right') => ({ kind: 'from-weight' as const, tensor: site.weight!, values: (W: Float32Array) => factorsOf(site, W, r)[which] });
    return [
      { name: 'pela_left', shape: [site.dimOut, r], init: factor('left') },
      { name: 'pela_right', shape: [r, site.dimIn], init: factor('right') },
    ];
  },

  replaced(model, config, base) {
    const factored = new Set(this.sites(model, config).map((s) => s.weight));
    return trainedWhole(base).filter((spec) => !factored.has(spec.name));
  },

  change: ({ site, x, pass }, p) => linear(linear(x, p.pela_right as Tensor2D), p.pela_left as Tensor2D, pass.frozen(site).b),
  fold: (site, now, _frozen, p) => ({ ...now, W: asStored(site, product(p.pela_left, p.pela_right)) }),
  tokenwise: true,

  auxiliary(call, config) {
    const terms = [
      ...(config.distill > 0 ? [tf.mul(featureDifference(call), config.distill)] : []),
      ...(config.perturb > 0 ? [tf.mul(weightDifference(call, config.tolerance), config.perturb)] : []),
    ];
    return terms.length > 0 ? terms.reduce((a, b) => tf.add(a, b)) : null;
  },

  finish: (tensors, config) => ({ tensors, config: { ...config, distill: 0, perturb: 0 } }),
};

export default pela;

export const rankOf = ({ dimIn, dimOut }: Pick<Site, 'dimIn' | 'dimOut'>, c: number): number => Math.floor((dimIn * dimOut) / (c * (dimIn + dimOut)));

const product = (left: Tensor, right: Tensor): Tensor => tf.matMul(left as Tensor2D, right as Tensor2D);

/** The factors of a site, kept from the one that is asked for first to the other. */
const begun = new WeakMap<Site, { left: Float32Array; right: Float32Array }>();

function factorsOf(site: Site, W: Float32Array, r: number): { left: Float32Array; right: Float32Array } {
  const known = begun.get(site);
  if (begun.delete(site)) return known!;
  const [m, n] = inputFirst(site) ? [site.dimIn, site.dimOut] : [site.dimOut, site.dimIn];
  const { U, S, Vt, k } = svd(W, m, n);
  const rows = Float32Array.from({ length: m * r }, (_, i) => U[Math.floor(i / r) * k + (i % r)] * Math.sqrt(S[i % r]));
  const columns = Float32Array.from({ length: r * n }, (_, i) => Vt[i] * Math.sqrt(S[Math.floor(i / n)]));
  const turned = (a: Float32Array, rows: number): Float32Array => a.map((_, i) => a[(i % rows) * (a.length / rows) + Math.floor(i / rows)]);
  const factors = inputFirst(site) ? { left: turned(columns, r), right: turned(rows, m) } : { left: rows, right: columns };
  begun.set(site, factors);
  return factors;
}

/** L_fd over the tokens there are. */
function featureDifference({ pass, teacher, mask }: AuxiliaryCall): Tensor {
  const theirs = teacher().taps;
  const blocks = [...pass.taps].map(([name, mine]) => {
    const squares = tf.mean(tf.squaredDifference(mine, theirs.get(name)!), -1);
    return mask ? tf.div(tf.sum(tf.mul(squares, mask)), tf.sum(mask)) : tf.mean(squares);
  });
  return tf.div(blocks.reduce((a, b) => tf.add(a, b)), blocks.length);
}

/** L_wp. */
function weightDifference({ pass, sites }: AuxiliaryCall, epsilon: number): Tensor {
  const each = [...sites].map(([site, p]) => tf.square(tf.sub(tf.max(tf.abs(tf.sub(asStored(site, product(p.pela_left, p.pela_right)), pass.frozen(site).W))), epsilon)));
  return tf.div(each.reduce((a, b) => tf.add(a, b)), each.length);
}
