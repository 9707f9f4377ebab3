import { linear, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import type { Site } from '../models/site.js';
import { dropped } from './low-rank.js';
import type { Method, Params } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface VeraConfig extends Targets { rank: number; dInitial: number; dropout: number; projectionKey: number; saveProjection: boolean }

/**
 * VeRA: ΔW = Λ_b B Λ_d A (eq. 2) with one frozen random pair for all sites, A [r, in] and B [out, r] cut to each site's size from the
 * largest, and trained diagonals λ_d [r] and λ_b [out]. λ_b = 0 at the start, the identity. The pair is PEFT's for the same key.
 */
const vera: Method<VeraConfig> = {
  name: 'vera',
  summary: 'two vectors a module around one random low-rank pair that all share (VeRA)',
  factored: true,
  paper: { title: 'VeRA: Vector-based Random Matrix Adaptation', authors: 'Kopiczko, Blankevoort, Asano', year: 2023, url: 'https://arxiv.org/abs/2310.11454' },
  options: {
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 256, min: 1, describe: 'rank r of the random pair' },
    dInitial: { type: 'number', default: 0.1, describe: 'where the r-vector starts; the other starts at zero' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the branch's input" },
    ...targetOptions,
    projectionKey: { type: 'number', metavar: 'N', default: 0, min: 0, describe: 'seed of the random pair' },
    saveProjection: { type: 'boolean', default: true, describe: 'store the random pair; without, it is drawn anew from its seed' },
  },

  resolve: (config, { model }) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] }),
  sites: (model, config) => targetSites(model, config, ['linear']),

  params: (site, { rank, dInitial }) => [
    { name: 'vera_lambda_d', shape: [rank], init: { kind: 'constant', value: dInitial } },
    { name: 'vera_lambda_b', shape: [site.dimOut], init: { kind: 'zeros' } },
  ],

  /** Both from U(±√(6/fan in)), one after the other out of one generator. */
  shared(_model, { rank, projectionKey: seed, saveProjection }, sites) {
    const frozen = { trainable: false, regenerated: !saveProjection };
    const dimIn = Math.max(...sites.map((s) => s.dimIn)), dimOut = Math.max(...sites.map((s) => s.dimOut));
    return [
      { name: 'vera_A', shape: [rank, dimIn], init: { kind: 'torch-uniform', bound: Math.sqrt(6 / dimIn), seed, skip: 0 }, ...frozen },
      { name: 'vera_B', shape: [dimOut, rank], init: { kind: 'torch-uniform', bound: Math.sqrt(6 / rank), seed, skip: rank * dimIn }, ...frozen },
    ];
  },

  /** Two skinny products with frozen weights, their results rescaled: the backward pass never sees the size of A and B. */
  tokenwise: true,
  change(call, p, { dropout }) {
    const { A, B } = pairAt(call.site, p);
    const z = tf.mul(linear(dropped(call, dropout), A), p.vera_lambda_d);
    return tf.add(call.base(call.x), tf.mul(linear(z, B), p.vera_lambda_b));
  },

  weightChange(site, p) {
    const { A, B } = pairAt(site, p);
    return { A: tf.mul(A, tf.expandDims(p.vera_lambda_d, 1)) as Tensor2D, B: tf.mul(B, tf.expandDims(p.vera_lambda_b, 1)) as Tensor2D, scale: 1 };
  },
};

export default vera;

function pairAt(site: Site, p: Params): { A: Tensor2D; B: Tensor2D } {
  const cut = (t: Tensor, shape: [number, number]): Tensor2D => (t.shape.join() === shape.join() ? t : tf.slice(t, [0, 0], shape)) as Tensor2D;
  const r = p.vera_A.shape[0];
  return { A: cut(p.vera_A, [r, site.dimIn]), B: cut(p.vera_B, [site.dimOut, r]) };
}
