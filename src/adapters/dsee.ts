import { tf, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import type { Site } from '../models/site.js';
import { support, type SupportKind } from './dsee-support.js';
import { inputFirst } from './low-rank.js';
import type { LowRankChange, Method, Params, ParamSpec } from './method.js';
import { matcher, targetOptions, targetSites, type Targets } from './targets.js';

export interface DseeConfig extends Targets {
  rank: number;
  alpha: number;
  /** N: entries of S₂ at each module. */
  sparse: number;
  support: SupportKind;
  dropout: number;
  /** Set by `merge --prune`: modules whose frozen weight is masked, targets or not. */
  masked?: readonly string[];
}

/**
 * DSEE: y = (W ∘ M) x + b + s·(U V + S₂) x with s = α/r (eq. 3). U [out, r] and V [r, in] are LoRA's, S₂ is trained on a fixed support Ω of N
 * entries, those in which W differs most from a matrix of low rank (GreBsmo). S₂ is a sum of N products of unit vectors, so that the whole
 * update is run and merged as one of rank r + N. U = 0 and S₂ = 0 at the start, the identity. The mask M of the frozen weight comes from
 * `graft merge --prune` and holds in the training that follows.
 */
const dsee: Method<DseeConfig> = {
  name: 'dsee',
  summary: 'low-rank and sparse change of weights that may then be pruned by it (DSEE)',
  factored: true,
  paper: { title: 'DSEE: Dually Sparsity-embedded Efficient Tuning of Pre-trained Language Models', authors: 'Chen et al.', year: 2023, url: 'https://arxiv.org/abs/2111.00160' },
  options: {
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 16, min: 1, describe: 'rank r of U V' },
    alpha: { type: 'number', default: 32, describe: 'scale: s = alpha / r' },
    sparse: { type: 'number', metavar: 'N', default: 16, min: 0, describe: 'entries N of the sparse part, at each module' },
    support: { type: 'string', default: 'grebsmo', choices: ['grebsmo', 'magnitude', 'random'], describe: 'which entries: where the weight differs most from one of low rank, its largest, or any' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the branch's input" },
    ...targetOptions,
  },

  resolve: (config, { model }) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] }),

  sites(model, config) {
    const targets = targetSites(model, config, ['linear']);
    const masked = matcher(config.masked ?? []);
    return model.sites.filter((s) => targets.includes(s) || (s.kind === 'linear' && masked(s.name)));
  },

  params(site, config, model) {
    const { rank: r, sparse: N } = config;
    const own: ParamSpec[] = targetSites(model, config, ['linear']).includes(site) ? [
      { name: 'dsee_U', shape: [site.dimOut, r], init: { kind: 'zeros' } },
      { name: 'dsee_V', shape: [r, site.dimIn], init: { kind: 'normal', std: 0.02 } },
      ...(N > 0 ? [
        { name: 'dsee_S_index', shape: [N], trainable: false, init: { kind: 'from-weight', tensor: site.weight!, values: (W, rng) => support(config.support, W, site, N, rng) } },
        { name: 'dsee_S_value', shape: [N], init: { kind: 'zeros' } },
      ] satisfies ParamSpec[] : []),
    ] : [];
    const mask: ParamSpec = { name: 'dsee_mask', shape: [Math.ceil((site.dimIn * site.dimOut) / 32)], trainable: false, init: { kind: 'from-weight', tensor: site.weight!, values: (W) => packed(new Uint8Array(W.length).fill(1)) } };
    return matcher(config.masked ?? [])(site.name) ? [...own, mask] : own;
  },

  /** W ∘ M. */
  rebase(site, W, p) {
    if (!p.dsee_mask) return undefined;
    const kept = unpacked(p.dsee_mask.dataSync() as Int32Array, W.size);
    return tf.mul(W, tf.tensor(Float32Array.from(kept), W.shape));
  },

  weightChange: (site, p, config) => changeAt(site, p, config.alpha / config.rank),
};

export default dsee;

/** U V + S₂ as one product; nothing at a module that is only masked. */
export function changeAt({ dimIn, dimOut }: Pick<Site, 'dimIn' | 'dimOut'>, p: Params, scale: number): LowRankChange {
  if (!p.dsee_U) return { A: tf.zeros([0, dimIn]) as Tensor2D, B: tf.zeros([dimOut, 0]) as Tensor2D, scale };
  const U = p.dsee_U as Tensor2D, V = p.dsee_V as Tensor2D;
  if (!p.dsee_S_index) return { A: V, B: U, scale };
  const { rows, columns } = unitVectors(p.dsee_S_index as Tensor1D, dimIn, dimOut);
  return { A: tf.concat([V, columns]) as Tensor2D, B: tf.concat([U, tf.mul(rows, p.dsee_S_value)], 1) as Tensor2D, scale };
}

/** Of flat indices into [out, in] the unit vectors of their rows [out, N] and columns [N, in]. */
function unitVectors(index: Tensor1D, dimIn: number, dimOut: number): { rows: Tensor; columns: Tensor } {
  const at = Array.from(index.dataSync());
  const oneHot = (where: number[], depth: number): Tensor => tf.oneHot(tf.tensor1d(where, 'int32'), depth, 1, 0, 'float32');
  return { rows: tf.transpose(oneHot(at.map((i) => Math.floor(i / dimIn)), dimOut)), columns: oneHot(at.map((i) => i % dimIn), dimIn) };
}

/** One bit an entry, 32 in a word, in the order the weight is stored in. */
export function packed(kept: ArrayLike<number>): Int32Array {
  const words = new Int32Array(Math.ceil(kept.length / 32));
  for (let i = 0; i < kept.length; i++) if (kept[i]) words[i >> 5] |= 1 << (i & 31);
  return words;
}

export const unpacked = (words: Int32Array, size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (words[i >> 5] >>> (i & 31)) & 1);

/** Where entry (o, i) of [out, in] lies in the stored weight. */
export const storedAt = (site: Site, o: number, i: number): number => (inputFirst(site) ? i * site.dimOut + o : o * site.dimIn + i);
