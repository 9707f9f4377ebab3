import { Rng, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import { blocks, highest, joined, matrix, noise, orthogonality, owners, paramsAt, readShape, writeShape } from './blocks.js';
import type { LowRankChange, Method, Params, StepCall } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface IncreloraConfig extends Targets {
  /** Of every module at the start. */
  rank: number;
  /** Mean rank of the modules at the end. */
  targetRank: number;
  alpha: number;
  dropout: number;
  /** k: ranks a module gains at once, and keeps in reserve. */
  reserve: number;
  top: number;
  score: 'sensitivity' | 'random';
  advance: boolean;
  initWarmup: number;
  interval: number;
  scaleBy: 'active' | 'target';
  beta1: number;
  beta2: number;
  orthogonality: number;
  /** Set when training ended: ranks stand, and nothing is in reserve. */
  allocated?: boolean;
}

/**
 * IncreLoRA: ΔW = α/n · B (A ∘ E) as in AdaLoRA, but each module starts at a small rank n, and every `interval` steps the `top`
 * modules of the highest score gain k, until the mean is the target's. Beside its n components a module holds k in reserve, which
 * learn their directions at E = 10⁻⁵ before they count (advance learning; its E then starts to move, and k new ones take its place,
 * on a schedule of their own). Score: S = Ī·Ū, running means of I = Σ|ΔW ∘ ∂L/∂ΔW| / √(out·in) and of how far it strays from Ī;
 * random scores are a baseline.
 * E = 0 at the start, so the graft begins as the identity but for the reserve.
 */
const increlora: Method<IncreloraConfig> = {
  name: 'increlora',
  summary: 'low-rank change whose rank grows where it matters (IncreLoRA)',
  factored: true,
  paper: { title: 'IncreLoRA: Incremental Parameter Allocation Method for Parameter-Efficient Fine-tuning', authors: 'Zhang et al.', year: 2023, url: 'https://arxiv.org/abs/2308.12043' },
  options: {
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 1, min: 1, describe: 'rank of every module at the start' },
    targetRank: { type: 'number', default: 8, min: 1, describe: 'mean rank of the modules at the end' },
    alpha: { type: 'number', default: 16, describe: 'scale: s = alpha / n, n being the rank a module has' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the branch's input" },
    ...targetOptions,
    reserve: { type: 'number', metavar: 'N', min: 1, describe: 'ranks a module gains at once, and holds in reserve; default: half of --target-rank' },
    top: { type: 'number', metavar: 'N', default: 3, min: 1, describe: 'modules that grow at once' },
    score: { type: 'string', default: 'sensitivity', choices: ['sensitivity', 'random'], describe: 'what makes a module grow: how much the loss depends on its change, or, to compare with, nothing' },
    advance: { type: 'boolean', default: true, describe: 'what is in reserve learns before it counts' },
    initWarmup: { type: 'number', metavar: 'N', default: 100, min: 0, describe: 'steps before the first growth' },
    interval: { type: 'number', metavar: 'N', default: 100, min: 1, describe: 'steps from one growth to the next' },
    scaleBy: { type: 'string', default: 'active', choices: ['active', 'target'], describe: 'the n of the scale: the rank a module has, or --target-rank' },
    beta1: { type: 'number', default: 0.85, min: 0, max: 1, describe: 'decay of the mean score' },
    beta2: { type: 'number', default: 0.85, min: 0, max: 1, describe: 'decay of its mean deviation' },
    orthogonality: { type: 'number', default: 0.1, min: 0, describe: 'weight of the penalty that keeps the factors orthogonal' },
  },

  resolve(config, { model }) {
    const reserve = config.reserve ?? Math.max(1, Math.floor(config.targetRank / 2));
    if (config.rank > config.targetRank) throw usageError(`--rank ${config.rank} lies above --target-rank ${config.targetRank}: ranks only grow`);
    return { ...config, reserve, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] };
  },
  sites: (model, config) => targetSites(model, config, ['linear', 'conv']),

  params(site, { rank, reserve, advance, allocated }) {
    const drawn = { init: { kind: 'normal', std: STD }, elastic: true } as const;
    const pair = (r: number, suffix = '') => [{ name: `lora_A${suffix}`, shape: readShape(site, r), ...drawn }, { name: `lora_B${suffix}`, shape: writeShape(site, r), ...drawn }];
    return [...pair(rank), { name: 'lora_E', shape: [rank, 1], init: { kind: 'zeros' }, elastic: true }, ...(advance && !allocated ? pair(reserve, '.1') : [])];
  },

  weightChange: (_site, p, config) => changeOf(p, config),
  weightGradients: true,
  penalty: (params, config) => orthogonality(params, config.orthogonality),

  afterBackward(call, config) {
    const sites = owners(call.params, 'lora_A');
    const ranks = new Map(sites.map((site) => [site, active(call.params, site)]));
    const missing = (): number => config.targetRank * sites.length - [...ranks.values()].reduce((a, b) => a + b, 0);
    if (config.allocated || missing() <= 0) return;
    const { top, reserve: k, initWarmup, interval } = config;
    const growths = Math.floor(call.totalSteps / interval) - Math.floor(initWarmup / interval);
    if (call.step === 1 && growths * Math.min(top, sites.length) * k < missing()) {
      throw usageError(`increlora: ${growths} growths in ${call.totalSteps} steps cannot add ${missing()} ranks; raise --top or --reserve, or shorten --interval`);
    }
    const rng = new Rng('increlora', call.seed, 'score', call.step);
    const scores = config.score === 'random' ? sites.map(() => rng.uniform()) : scored(call, sites, config).dataSync();
    if (call.step <= initWarmup || call.step % interval !== 0) return;
    const chosen = highest(sites, scores, Math.min(top, Math.max(1, Math.floor(missing() / k))));
    for (const site of chosen) ranks.set(site, ranks.get(site)! + k);
    const done = missing() <= 0;
    for (const site of chosen) grow(call, site, config, !done && config.advance);
    if (done) for (const site of sites) if (!chosen.includes(site)) release(call, site);
    call.log({ ranks: Object.fromEntries(ranks) });
  },

  /** Blocks become one tensor; what is in reserve goes. */
  finish(tensors, config) {
    if (config.allocated) return { tensors, config };
    const stored = new Map([...tensors].filter(([name]) => !/\.lora_[ABE]\.\d+$/.test(name) && name !== SCORES));
    for (const site of owners(tensors, 'lora_A')) {
      const counted = blocks(tensors, `${site}.lora_E`);
      for (const [name, axis] of [['lora_A', 0], ['lora_E', 0], ['lora_B', 1]] as const) stored.set(`${site}.${name}`, joined(blocks(tensors, `${site}.${name}`).slice(0, counted.length), axis));
    }
    return { tensors: stored, config: { ...config, allocated: true } };
  },
};

export default increlora;

const STD = 0.02;
/** E of what is in reserve. */
const RESERVE = 1e-5;
const SCORES = 'increlora_scores';

function changeOf(p: Params, { alpha, scaleBy, targetRank }: IncreloraConfig): LowRankChange {
  const A = blocks(p, 'lora_A'), E = blocks(p, 'lora_E'), B = blocks(p, 'lora_B');
  const n = E.reduce((sum, e) => sum + e.shape[0], 0);
  const scaled = A.map((a, i) => tf.mul(matrix(a), E[i] ?? RESERVE));
  return { A: joined(scaled, 0) as Tensor2D, B: joined(B.map(matrix), 1) as Tensor2D, scale: alpha / ((scaleBy === 'target' ? targetRank : n) + 1e-5) };
}

/** n: the components of a site that count. */
const active = (params: StepCall['params'], site: string): number => blocks(params, `${site}.lora_E`).reduce((n, e) => n + e.shape[0], 0);

/** S of every site after this step. */
function scored(call: StepCall, sites: readonly string[], config: IncreloraConfig): Tensor {
  const sensitivity = tf.stack(sites.map((site) => {
    const { A, B, scale } = changeOf(paramsAt(call.params, site), config);
    const G = call.weightGrads.get(site), delta = tf.mul(tf.matMul(B, A), scale);
    return G ? tf.div(tf.sum(tf.abs(tf.mul(delta, G))), Math.sqrt(delta.size)) : tf.scalar(0);
  }));
  const [meanBefore, spreadBefore] = tf.unstack(call.buffers.get(SCORES) ?? tf.zeros([2, sites.length]));
  const moved = (old: Tensor, value: Tensor, beta: number): Tensor => tf.add(tf.mul(old, beta), tf.mul(value, 1 - beta));
  const mean = moved(meanBefore, sensitivity, config.beta1);
  const spread = moved(spreadBefore, tf.abs(tf.sub(sensitivity, mean)), config.beta2);
  call.setBuffer(SCORES, tf.stack([mean, spread]));
  return tf.mul(mean, spread);
}

/** The site's reserve begins to count; `more`: a new one takes its place. */
function grow(call: StepCall, site: string, { reserve: k, advance }: IncreloraConfig, more: boolean): void {
  const since = call.step, at = blocks(call.params, `${site}.lora_E`).length;
  const add = (block: number): void => (['lora_A', 'lora_B'] as const).forEach((name, axis) => {
    const shape = [...call.params.get(`${site}.${name}`)!.shape];
    shape[axis] = k;
    call.setParam(`${site}.${name}.${block}`, noise(shape, STD, 'increlora', call.seed, site, name, block), { since });
  });
  if (!advance) add(at);
  call.setParam(`${site}.lora_E.${at}`, advance ? tf.fill([k, 1], RESERVE) : tf.zeros([k, 1]), { since });
  if (more) add(at + 1);
}

/** The target is met: what is still in reserve goes. */
function release(call: StepCall, site: string): void {
  const at = blocks(call.params, `${site}.lora_E`).length;
  for (const name of ['lora_A', 'lora_B']) if (call.params.has(`${site}.${name}.${at}`)) call.setParam(`${site}.${name}.${at}`, null);
}
