import { tf, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Site } from '../models/site.js';
import { weightDelta } from './low-rank.js';
import type { LowRankChange, Method, Params, ParamSpec } from './method.js';
import { patternValue, targetOptions, targetSites, type Targets } from './targets.js';

export interface LoraConfig extends Targets {
  rank: number;
  alpha: number;
  dropout: number;
  rslora: boolean;
  rankPattern?: readonly string[];
  alphaPattern?: readonly string[];
  loraBias: boolean;
  init: 'kaiming' | 'gaussian';
  /** LoRA+: B learns this many times faster than A. */
  lrRatio: number;
  /** Set by initialisers that moved part of the frozen weight into A and B (PiSSA): A₀ and B₀ are stored beside them. */
  residual?: boolean;
}

/**
 * LoRA: y = W x + b + s·B A drop(x) with s = α/r, or α/√r with rsLoRA.
 * Linear: A [r, in], B [out, r]. Convolution: A [r, Cin, kh, kw], B [Cout, r, 1, 1]. Embedding: A [r, V], B [d, r].
 * Tensor names and shapes are PEFT's. B = 0 at the start (A at embeddings), so the graft is the identity.
 */
const lora: Method<LoraConfig> = {
  name: 'lora',
  summary: 'low-rank change of weights (LoRA, rsLoRA)',
  factored: true,
  paper: { title: 'LoRA: Low-Rank Adaptation of Large Language Models', authors: 'Hu et al.', year: 2021, url: 'https://arxiv.org/abs/2106.09685' },
  options: {
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 8, min: 1, describe: 'rank r' },
    alpha: { type: 'number', default: 8, describe: 'scale: s = alpha / r' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the branch's input" },
    rslora: { type: 'boolean', default: false, describe: 's = alpha / sqrt(r) (Kalajdzievski, 2023)' },
    ...targetOptions,
    rankPattern: { type: 'string', array: true, metavar: 'MODULE=R', describe: 'another rank for modules whose path is or ends with MODULE (a regular expression)' },
    alphaPattern: { type: 'string', array: true, metavar: 'MODULE=ALPHA', describe: 'another alpha, likewise' },
    loraBias: { type: 'boolean', default: false, describe: 'a bias on B' },
    init: { type: 'string', default: 'kaiming', choices: ['kaiming', 'gaussian'], describe: 'how A starts; B starts at zero' },
    lrRatio: { type: 'number', default: 1, min: 0, describe: 'B learns this many times faster than A (LoRA+: Hayou et al., 2024)' },
  },

  resolve: (config, { model }) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] }),

  sites: targetSites,

  params(site, config) {
    const specs = pair(site, config);
    return config.residual ? [...specs, ...specs.slice(0, 2).map((s) => buffer(s, site))] : specs;
  },

  weightChange: (site, p, config) => ({ ...factorsAt(site, p), scale: scaleAt(site, config), bias: p['lora_B.bias'] as LowRankChange['bias'] }),

  /** PiSSA: the frozen weight is what A₀ and B₀ leave, W − s·B₀A₀. */
  rebase(site, W, p, config) {
    if (!config.residual) return undefined;
    return tf.sub(W, weightDelta(site, { ...factorsAt(site, p, '0'), scale: scaleAt(site, config) }));
  },
};

export default lora;

export const rankAt = (site: Pick<Site, 'name'>, c: LoraConfig): number => patternValue(c.rankPattern, site.name, c.rank);

/** s = α/r or α/√r, with the site's own α and r. */
export function scaleAt(site: Pick<Site, 'name'>, c: LoraConfig): number {
  const r = rankAt(site, c);
  return patternValue(c.alphaPattern, site.name, c.alpha) / (c.rslora ? Math.sqrt(r) : r);
}

/** The names A and B have at a site; `0` names the buffers that keep their start. */
export function pairNames(site: Site, which: '' | '0' = ''): { A: string; B: string } {
  const suffix = site.kind === 'embedding' ? '' : '.weight';
  const stem = site.kind === 'embedding' ? 'lora_embedding_' : 'lora_';
  return { A: `${stem}A${which}${suffix}`, B: `${stem}B${which}${suffix}` };
}

function pair(site: Site, c: LoraConfig): ParamSpec[] {
  const r = rankAt(site, c);
  if (!Number.isInteger(r) || r < 1) throw usageError(`rank ${r} at ${site.name}: it must be a whole number, at least 1`);
  const { A, B } = pairNames(site);
  const bias: ParamSpec[] = c.loraBias ? [{ name: 'lora_B.bias', shape: [site.dimOut], init: { kind: 'zeros' }, lrScale: c.lrRatio }] : [];
  if (site.kind === 'embedding') {
    if (c.loraBias) throw usageError(`--lora-bias: ${site.name} is an embedding, which takes none`);
    return [{ name: A, shape: [r, site.dimIn], init: { kind: 'zeros' } }, { name: B, shape: [site.dimOut, r], init: { kind: 'normal', std: 1 }, lrScale: c.lrRatio }];
  }
  const window = site.conv?.kernel ?? [];
  const fanIn = site.dimIn * window.reduce((n, k) => n * k, 1);
  return [
    { name: A, shape: [r, site.dimIn, ...window], init: c.init === 'gaussian' ? { kind: 'normal', std: 1 / r } : { kind: 'kaiming', fanIn } },
    { name: B, shape: [site.dimOut, r, ...window.map(() => 1)], init: { kind: 'zeros' }, lrScale: c.lrRatio },
    ...bias,
  ];
}

function buffer(spec: ParamSpec, site: Site): ParamSpec {
  const now = pairNames(site), start = pairNames(site, '0');
  return { ...spec, name: spec.name === now.A ? start.A : start.B, trainable: false };
}

/** A and B as matrices with ΔW = B A: [r, in·kh·kw] and [out, r]; at embeddings, whose table is [V, d], [r, d] and [V, r]. */
export function factorsAt(site: Site, p: Params, which: '' | '0' = ''): { A: Tensor2D; B: Tensor2D } {
  const names = pairNames(site, which);
  const A = p[names.A], B = p[names.B];
  if (site.kind === 'embedding') return { A: tf.transpose(B) as Tensor2D, B: tf.transpose(A) as Tensor2D };
  if (site.kind === 'linear') return { A: A as Tensor2D, B: B as Tensor2D };
  return { A: tf.reshape(A, [A.shape[0], -1]), B: tf.reshape(B, [B.shape[0], -1]) };
}
