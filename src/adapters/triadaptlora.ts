import { Rng, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import { blocks, highest, joined, matrix, noise, orthogonality, owners, paramsAt, readShape, writeShape } from './blocks.js';
import type { LowRankChange, Method, Params, ParamSpec, StepCall } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface TriadaptloraConfig extends Targets {
  /** Of every module at the start. */
  rank: number;
  /** Mean rank of the modules at the end. */
  targetRank: number;
  alpha: number;
  dropout: number;
  /** k: ranks a module gains at once. */
  block: number;
  growth: 'linear' | 'exp' | 'topk';
  /** Modules that grow at once under the law topk. */
  top: number;
  score: 'core-diff' | 'core-norm' | 'delta-norm' | 'random';
  initWarmup: number;
  interval: number;
  orthogonality: number;
  /** Set when training ended: ranks stand, and C is stored as one matrix. */
  allocated?: boolean;
}

/**
 * TriAdaptLoRA: ΔW = α/n · B C A with a core C = L + R [n, n] that grows by whole rows and columns: block i of k ranks brings the rows
 * L_i [k, n_i] of the lower triangle and the columns R_i [n_i, k] of the upper, n_i being the rank with it, and k rows of A and columns
 * of B. From time to time the modules of the highest score grow, m of them as the law says, until the mean rank is the target's.
 * Score, with v = ‖C‖_F by the number of blocks: v less what it was the last time (core-diff, as published), v (core-norm), or
 * ‖B C A‖_F by that number (delta-norm); random scores are a baseline. B = 0 at the start; where it grows B and the new columns of R over old rows are 0, so that ΔW·n stays.
 */
const triadaptlora: Method<TriadaptloraConfig> = {
  name: 'triadaptlora',
  summary: 'low-rank change with a core that grows by triangles where it matters (TriAdaptLoRA)',
  factored: true,
  paper: { title: 'TriAdaptLoRA: Brain-Inspired Triangular Adaptive Low-Rank Adaptation for Parameter-Efficient Fine-Tuning', authors: 'Liang et al.', year: 2025, url: 'https://arxiv.org/abs/2501.08008' },
  options: {
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 1, min: 1, describe: 'rank of every module at the start' },
    targetRank: { type: 'number', default: 8, min: 1, describe: 'mean rank of the modules at the end' },
    alpha: { type: 'number', default: 16, describe: 'scale: s = alpha / n, n being the rank a module has' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the branch's input" },
    ...targetOptions,
    block: { type: 'number', metavar: 'N', min: 1, describe: 'ranks a module gains at once; default: half of --target-rank' },
    growth: { type: 'string', default: 'linear', choices: ['linear', 'exp', 'topk'], describe: 'how many modules grow, by the share of the run that is over: linearly or exponentially towards the missing ranks, or always --top' },
    top: { type: 'number', metavar: 'N', default: 3, min: 1, describe: 'modules that grow at once with --growth topk' },
    score: { type: 'string', default: 'core-diff', choices: ['core-diff', 'core-norm', 'delta-norm', 'random'], describe: 'what makes a module grow: how much the norm of its core rose, that norm, the norm of its change, or, to compare with, nothing' },
    initWarmup: { type: 'number', metavar: 'N', default: 100, min: 0, describe: 'steps before the first growth' },
    interval: { type: 'number', metavar: 'N', default: 100, min: 1, describe: 'steps from one growth to the next' },
    orthogonality: { type: 'number', default: 0.5, min: 0, describe: 'weight of the penalty that keeps A and B orthogonal' },
  },

  resolve(config, { model }) {
    if (config.rank > config.targetRank) throw usageError(`--rank ${config.rank} lies above --target-rank ${config.targetRank}: ranks only grow`);
    return { ...config, block: config.block ?? Math.max(1, Math.floor(config.targetRank / 2)), targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] };
  },
  sites: (model, config) => targetSites(model, config, ['linear', 'conv']),

  params(site, { rank: n, allocated }) {
    const spec = (name: string, shape: number[], zero = false): ParamSpec => ({ name, shape, init: zero ? { kind: 'zeros' } : { kind: 'normal', std: STD }, elastic: true });
    const core = allocated ? ['tri_C'] : ['tri_L', 'tri_R'];
    return [spec('tri_A', readShape(site, n)), ...core.map((name) => spec(name, [n, n])), spec('tri_B', writeShape(site, n), true)];
  },

  weightChange: (_site, p, config) => changeOf(p, config),
  penalty: (params, config) => orthogonality(params, config.orthogonality, ['tri_A', 'tri_B']),

  afterBackward(call, config) {
    const { step, totalSteps } = call, { initWarmup, interval, targetRank, block: k } = config;
    if (config.allocated || step <= initWarmup || step % interval !== 0) return;
    const sites = owners(call.params, 'tri_A'), ranks = new Map(sites.map((site) => [site, coreOf(paramsAt(call.params, site)).shape[0]]));
    const missing = targetRank * sites.length - [...ranks.values()].reduce((a, b) => a + b, 0);
    if (missing <= 0) return;
    const values = tf.stack(sites.map((site) => scoreOf(paramsAt(call.params, site), config))), before = call.buffers.get(SCORES);
    const scores = (config.score === 'core-diff' && before ? tf.sub(values, before) : values).dataSync();
    call.setBuffer(SCORES, values);
    const m = Math.min(growthAt((step - initWarmup) / (totalSteps - initWarmup), missing, sites.length, config), Math.max(1, Math.floor(missing / k)));
    const rng = new Rng('triadaptlora', call.seed, 'score', step);
    for (const site of highest(sites, config.score === 'random' ? scores.map(() => rng.uniform()) : scores, m)) {
      grow(call, site, k);
      ranks.set(site, ranks.get(site)! + k);
    }
    call.log({ ranks: Object.fromEntries(ranks) });
  },

  /** Blocks become one tensor, L + R the core. */
  finish(tensors, config) {
    if (config.allocated) return { tensors, config };
    const stored = new Map([...tensors].filter(([name]) => !/\.tri_[ABLR](\.\d+)?$/.test(name) && name !== SCORES));
    for (const site of owners(tensors, 'tri_A')) {
      stored.set(`${site}.tri_C`, coreOf(paramsAt(tensors, site)));
      for (const [name, axis] of [['tri_A', 0], ['tri_B', 1]] as const) stored.set(`${site}.${name}`, joined(blocks(tensors, `${site}.${name}`), axis));
    }
    return { tensors: stored, config: { ...config, allocated: true } };
  },
};

export default triadaptlora;

const STD = 0.02;
const SCORES = 'triadaptlora_scores';

function changeOf(p: Params, { alpha }: TriadaptloraConfig): LowRankChange {
  const C = coreOf(p), A = matrix(joined(blocks(p, 'tri_A'), 0)), B = matrix(joined(blocks(p, 'tri_B'), 1));
  return { A: tf.matMul(C, A) as Tensor2D, B: B as Tensor2D, scale: alpha / (C.shape[0] + 1e-5) };
}

/** C = L + R [n, n]: strips of rows padded on the right, strips of columns padded below. */
export function coreOf(p: Params): Tensor2D {
  if (p.tri_C) return p.tri_C as Tensor2D;
  const L = blocks(p, 'tri_L') as Tensor2D[], R = blocks(p, 'tri_R') as Tensor2D[], n = L.at(-1)!.shape[1];
  const rows = L.map((strip) => tf.pad(strip, [[0, 0], [0, n - strip.shape[1]]])), columns = R.map((strip) => tf.pad(strip, [[0, n - strip.shape[0]], [0, 0]]));
  return tf.add(joined(rows, 0), joined(columns, 1));
}

function scoreOf(p: Params, config: TriadaptloraConfig): Tensor {
  const { A, B } = changeOf(p, config);
  return tf.div(tf.norm(config.score === 'delta-norm' ? tf.matMul(B, A) : coreOf(p)), blocks(p, 'tri_L').length);
}

/** How many of `sites` modules grow when this share of the run is over. */
export function growthAt(share: number, missing: number, sites: number, { growth, top }: Pick<TriadaptloraConfig, 'growth' | 'top'>): number {
  const wanted = growth === 'topk' ? top : Math.trunc(growth === 'linear' ? missing * share : missing ** share);
  return Math.min(sites, Math.max(1, wanted));
}

/** A block of k ranks more. */
function grow(call: StepCall, site: string, k: number): void {
  const p = paramsAt(call.params, site), at = blocks(p, 'tri_L').length, n = coreOf(p).shape[0];
  const drawn = (name: string, shape: number[]): Tensor => noise(shape, STD, 'triadaptlora', call.seed, site, name, at);
  const like = (name: string, axis: 0 | 1): number[] => p[name].shape.map((size, i) => (i === axis ? k : size));
  const added = {
    tri_A: drawn('tri_A', like('tri_A', 0)), tri_L: drawn('tri_L', [k, n + k]),
    tri_R: tf.concat([tf.zeros([n, k]), drawn('tri_R', [k, k])]), tri_B: tf.zeros(like('tri_B', 1)),
  };
  for (const [name, value] of Object.entries(added)) call.setParam(`${site}.${name}.${at}`, value, { since: call.step });
}
