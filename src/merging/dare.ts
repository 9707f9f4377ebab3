import { Rng } from '@graft/kernels';
import type { MergingMethod, Tensors } from './method.js';
import { addTo, drop, electedSum, lambdaOption, normalizeOption, taskVectors, weightedSum, type Rescale } from './task-vectors.js';

interface DareConfig extends Record<string, unknown> { density: number; lambda: number; normalize: boolean; seed: number; rescale?: Rescale }

/** Each entry of τ_i is kept with probability p and divided by p; the mask depends on the seed, the model and the tensor's name. */
const dropped = (t: Tensors, { density, seed, rescale = 'probability' }: DareConfig): Float32Array[] => taskVectors(t).map((tau, i) => drop(tau, t.densities?.[i] ?? density, rescale, new Rng(seed, 'dare', i, t.name)));

function dare(name: string, summary: string, combine: typeof weightedSum): MergingMethod<DareConfig> {
  return {
    name, summary,
    paper: { title: 'Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch', authors: 'Yu et al.', year: 2024, url: 'https://arxiv.org/abs/2311.03099' },
    options: { density: { type: 'number', default: 0.5, min: 1e-6, max: 1, describe: 'probability p that an entry of a task vector is kept' }, lambda: lambdaOption, normalize: normalizeOption(false) },
    needsBase: true,
    merge: (t, config) => addTo(t.base!, combine(dropped(t, config), t.weights, config.normalize), config.lambda),
  };
}

export const dareLinear = dare('dare-linear', 'drop and rescale task vectors, then add them', weightedSum);
export const dareTies = dare('dare-ties', 'drop and rescale task vectors, then elect signs', electedSum);
