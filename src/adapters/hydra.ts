import { dropout, linear, tf, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';
import { asMatrix, asStored } from './low-rank.js';
import type { Init, Method, Params, ParamSpec } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface HydraConfig extends Targets {
  parRank: number;
  seqRank: number;
  scale: number;
  dropout: number;
  bias: boolean;
  init: 'kaiming' | 'xavier' | 'normal';
}

/**
 * Hydra: y = f + s·P(x) + s·Q(f) with f = W x + b what the frozen module writes, a parallel branch P(x) = B_p(A_p x + a_p) + b_p as in LoRA and a
 * sequential one Q(f) = B_q(A_q f + a_q) + b_q. Merged it is W' = W + s(B_p A_p + B_q A_q W), b' = b + s(B_q A_q b + B_p a_p + b_p + B_q a_q + b_q).
 * B and biases are 0 at the start, the identity. By default it acts at the second module of feed-forward networks.
 */
const hydra: Method<HydraConfig> = {
  name: 'hydra',
  summary: 'low-rank branches beside a module and behind it (Hydra)',
  factored: true,
  paper: { title: 'Hydra: Multi-head Low-rank Adaptation for Parameter Efficient Fine-tuning', authors: 'Kim et al.', year: 2023, url: 'https://arxiv.org/abs/2309.06922' },
  options: {
    parRank: { type: 'number', metavar: 'N', default: 4, min: 0, describe: 'rank of the branch that reads what the module reads; 0: none' },
    seqRank: { type: 'number', metavar: 'N', default: 8, min: 0, describe: 'rank of the branch that reads what it writes; 0: none' },
    scale: { type: 'number', default: 1, describe: 'scale s of both branches' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: 'dropout between the two matrices of a branch' },
    ...targetOptions,
    bias: { type: 'boolean', default: false, describe: 'a bias on every matrix, as for pictures' },
    init: { type: 'string', default: 'kaiming', choices: ['kaiming', 'xavier', 'normal'], describe: 'how A starts: as for texts, as on VTAB, or from N(0, 0.02²) as in few shots' },
  },

  resolve(config, { model }) {
    if (config.parRank + config.seqRank === 0) throw usageError('--par-rank 0 and --seq-rank 0 leave nothing to train');
    return config.targetModules?.length ? config : { ...config, targetModules: feedForward(model) };
  },
  sites: (model, config) => targetSites(model, config, ['linear']),

  params(site, config) {
    if (config.bias && !site.bias) throw usageError(`--bias: ${site.name} has no bias to merge those of the branches into`);
    return BRANCHES.flatMap((branch) => branchSpecs(site, config, branch));
  },

  tokenwise: true,
  change({ site, x, base, pass }, p, config) {
    const f = base(x);
    const outputs = BRANCHES.filter((branch) => p[`${branch}_A`]).map((branch) => {
      const inner = linear(branch === 'par' ? x : f, p[`${branch}_A`] as Tensor2D, biasOf(p, branch, 'A'));
      const kept = pass.train && config.dropout > 0 ? dropout(inner, config.dropout, pass.seed, pass.step, site.name, branch) : inner;
      return linear(kept, p[`${branch}_B`] as Tensor2D, biasOf(p, branch, 'B'));
    });
    return tf.add(f, tf.mul(tf.addN(outputs), config.scale));
  },

  fold(site, { W, b }, _frozen, p, { scale }) {
    const M = asMatrix(site, W) as Tensor2D;
    const column = (t: Tensor): Tensor2D => tf.reshape(t, [-1, 1]);
    const changes = BRANCHES.filter((branch) => p[`${branch}_A`]).map((branch) => {
      const [A, B] = ['A', 'B'].map((which) => p[`${branch}_${which}`] as Tensor2D), [a, c] = (['A', 'B'] as const).map((which) => biasOf(p, branch, which));
      const through = (t: Tensor2D): Tensor => tf.matMul(B, tf.matMul(A, t));
      const shift = [...(branch === 'seq' && b ? [through(column(b))] : []), ...(a ? [tf.matMul(B, column(a))] : []), ...(c ? [column(c)] : [])];
      return { W: branch === 'par' ? tf.matMul(B, A) : through(M), shift };
    });
    const shift = changes.flatMap((c) => c.shift);
    return {
      W: asStored(site, tf.add(M, tf.mul(tf.addN(changes.map((c) => c.W)), scale))),
      b: b && (shift.length > 0 ? tf.add(b, tf.mul(tf.reshape(tf.addN(shift), [-1]), scale)) as Tensor1D : b),
    };
  },
};

export default hydra;

const BRANCHES = ['par', 'seq'] as const;
type Branch = (typeof BRANCHES)[number];

const biasOf = (p: Params, branch: Branch, which: 'A' | 'B'): Tensor1D | null => (p[`${branch}_${which}.bias`] as Tensor1D | undefined) ?? null;

function branchSpecs(site: Site, { parRank, seqRank, bias, init }: HydraConfig, branch: Branch): ParamSpec[] {
  const [r, width] = branch === 'par' ? [parRank, site.dimIn] : [seqRank, site.dimOut];
  if (r === 0) return [];
  const start: Init = init === 'kaiming' ? { kind: 'kaiming', fanIn: width } : init === 'normal' ? { kind: 'normal', std: 0.02 } : { kind: 'uniform', bound: Math.sqrt(6 / (r + width)) };
  const zeros = (name: string, shape: number[]): ParamSpec => ({ name, shape, init: { kind: 'zeros' } });
  return [
    { name: `${branch}_A`, shape: [r, width], init: start }, zeros(`${branch}_B`, [site.dimOut, r]),
    ...(bias ? [zeros(`${branch}_A.bias`, [r]), zeros(`${branch}_B.bias`, [site.dimOut])] : []),
  ];
}

/** The modules that end a feed-forward network. */
function feedForward(model: Model): string[] {
  const names = model.sites.filter((s) => s.kind === 'linear' && s.role === 'down').map((s) => s.name);
  if (names.length === 0) throw usageError(`hydra: this ${model.type} has no feed-forward modules; name some with --target-modules`);
  return names;
}
