import { tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { permeabilities } from '../diffusion/permeability.js';
import type { Site } from '../models/site.js';
import { addLowRank } from './low-rank.js';
import type { LowRankChange, Method, Params } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface SpmConfig extends Targets {
  rank: number;
  alpha: number;
  /** What it erases, as prompts. */
  concept?: readonly string[];
  /** γ; without it the prompt decides. */
  permeability?: number;
}

const [DOWN, UP] = ['lora_down.weight', 'lora_up.weight'];

/**
 * SPM (Lyu et al., 2024): a change of one dimension at every dense layer and convolution of a UNet's transformers, y = W x + γ (α/r) u (vᵀx), that
 * keeps one concept from being drawn; at convolutions v has the window and u is 1×1. u = 0 at the start, the identity. In training γ = 1; where
 * images are generated it is how near the prompt is to the concept (facilitated transport), for each image its own. Several of them add up.
 */
const spm: Method<SpmConfig> = {
  name: 'spm',
  summary: 'one-dimensional changes that erase a concept from a diffusion model, as permeable as the prompt is near it (SPM)',
  factored: true,
  paper: { title: 'One-dimensional Adapter to Rule Them All: Concepts, Diffusion Models and Erasing Applications', authors: 'Lyu, Yang, Hong, Chen, Jin, He, Xue, Han, Ding', year: 2024, url: 'https://arxiv.org/abs/2312.16145' },
  options: {
    concept: { type: 'string', array: true, metavar: 'PROMPT', describe: 'what it erases, as a prompt that the model knows; repeatable: the nearest counts' },
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 1, min: 1, describe: 'dimensions of the change' },
    alpha: { type: 'number', default: 1, describe: 'scale: alpha / r' },
    permeability: { type: 'number', metavar: 'G', describe: 'γ for every prompt; without it the prompt decides when images are generated' },
    ...targetOptions,
  },

  resolve: (config) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : ['/.*attentions\\.\\d+\\..*/'] }),

  sites: (model, config) => targetSites(model, config, ['linear', 'conv']),

  params(site, { rank }) {
    const window = site.conv?.kernel ?? [], fanIn = window.reduce((n, k) => n * k, site.dimIn);
    return [
      { name: DOWN, shape: [rank, site.dimIn, ...window], init: { kind: 'kaiming', fanIn } },
      { name: UP, shape: [site.dimOut, rank, ...window.map(() => 1)], init: { kind: 'zeros' } },
    ];
  },

  weightChange: lowRank,

  change({ site, x, base, pass }, p, config) {
    const gammas = config.permeability === undefined ? permeabilities(pass, config) : null;
    return addLowRank(site, base(x), gammas ? perImage(x, gammas) : x, lowRank(site, p, config));
  },

  unmergeable: ({ permeability }) => (permeability === undefined ? 'how much of it acts depends on the prompt; graft merge --permeability G fixes that' : undefined),
};

export default spm;

function lowRank(site: Site, p: Params, { permeability = 1, alpha, rank }: SpmConfig): LowRankChange {
  return { A: tf.reshape(p[DOWN], [rank, -1]) as Tensor2D, B: tf.reshape(p[UP], [site.dimOut, rank]) as Tensor2D, scale: (permeability * alpha) / rank };
}

/** x [B, …], each image times its γ: as the change is linear, that is γ times the change. */
const perImage = (x: Tensor, gammas: Float32Array): Tensor => tf.mul(x, tf.tensor(gammas, [gammas.length, ...x.shape.slice(1).map(() => 1)]));
