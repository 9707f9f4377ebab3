import { tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Site } from '../models/site.js';
import type { Method, Params } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface FloraConfig extends Targets {
  /** r₁ … r_N of inputs, outputs and, at convolutions, the window's height and width. */
  ranks: readonly number[];
  /** s */
  scale: number;
  dropout: number;
}

/**
 * FLoRA: the change has the shape of the weight and a core of low rank in every mode, ΔW = s · G ×₁ P₁ ×₂ P₂ … ×_N P_N (eq. 5), with
 * G [r₁ … r_N] and P_i [d_i, r_i]; modes in the order (in, out, kh, kw). G = 0 at the start, the identity; P_i ~ N(0, 1/(2r_i)).
 * Unfolded along the outputs it is B A with B = P₂ and A [r₂, in·kh·kw] the core carried to the other modes, which is how it is run and merged.
 */
const flora: Method<FloraConfig> = {
  name: 'flora',
  summary: 'a change with a low-rank core in every mode of the weight, convolutions unflattened (FLoRA)',
  factored: true,
  paper: { title: 'FLoRA: Low-Rank Core Space for N-dimension', authors: 'Si et al.', year: 2024, url: 'https://arxiv.org/abs/2405.14739' },
  options: {
    ranks: { type: 'number', array: true, metavar: 'IN,OUT,KH,KW', describe: 'rank of each mode: inputs, outputs, height and width of the window; at most what the mode has; default: 16,16,2,2' },
    scale: { type: 'number', default: 4, describe: 'scale s; 0.4 for large linear models' },
    dropout: { type: 'number', default: 0.01, min: 0, max: 1, describe: "dropout on the branch's input" },
    ...targetOptions,
  },

  resolve(config, { model }) {
    const ranks = config.ranks?.length ? config.ranks : [16, 16, 2, 2];
    if ((ranks.length !== 2 && ranks.length !== 4) || !ranks.every((r) => Number.isInteger(r) && r >= 1)) throw usageError(`flora: --ranks ${ranks.join(',')}: two or four whole numbers, at least 1: IN,OUT,KH,KW`);
    return { ...config, ranks, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] };
  },

  sites: (model, config) => targetSites(model, config, ['linear', 'conv']),

  params(site, config) {
    const dims = modes(site), ranks = dims.map((d, i) => Math.min(d, config.ranks[i] ?? 2));
    return [
      { name: 'flora_G', shape: ranks, init: { kind: 'zeros' } },
      ...dims.map((d, i) => ({ name: `flora_P.${i}`, shape: [d, ranks[i]], init: { kind: 'normal' as const, std: Math.sqrt(0.5 / ranks[i]) } })),
    ];
  },

  weightChange(site, p, { scale }) {
    const core = tf.transpose(p.flora_G, modes(site).map((_, i) => (i < 2 ? 1 - i : i))); // outputs first, as the weight has them
    const A = modes(site).reduce((T, _, i) => (i === 1 ? T : alongMode(T, factor(p, i), i === 0 ? 1 : i)), core);
    return { A: tf.reshape(A, [A.shape[0], -1]) as Tensor2D, B: factor(p, 1), scale };
  },
};

export default flora;

/** The sizes of a weight's modes: in, out, kh, kw. */
const modes = (site: Site): number[] => [site.dimIn, site.dimOut, ...(site.conv?.kernel ?? [])];

const factor = (p: Params, i: number): Tensor2D => p[`flora_P.${i}`] as Tensor2D;

/** T ×_mode P: every fibre of T [… r …] along that axis multiplied by P [d, r]. */
function alongMode(T: Tensor, P: Tensor2D, axis: number): Tensor {
  const last = T.shape.map((_, i) => i).filter((i) => i !== axis).concat(axis);
  const moved = tf.transpose(T, last);
  const product = tf.reshape(tf.matMul(tf.reshape(moved, [-1, P.shape[1]]), P, false, true), [...moved.shape.slice(0, -1), P.shape[0]]);
  return tf.transpose(product, last.map((_, i) => last.indexOf(i)));
}
