import type { MergingMethod } from './method.js';
import { addTo, electedSum, lambdaOption, normalizeOption, taskVectors, trim, type Rescale } from './task-vectors.js';

/** Trim each τ_i to its largest entries, elect a sign for every entry, average those that agree; θ = θ₀ + λ τ. */
const ties: MergingMethod<{ density: number; lambda: number; normalize: boolean; rescale?: Rescale }> = {
  name: 'ties',
  summary: 'trim task vectors, elect signs, average what agrees',
  paper: { title: 'TIES-Merging: Resolving Interference When Merging Models', authors: 'Yadav et al.', year: 2023, url: 'https://arxiv.org/abs/2306.01708' },
  options: { density: { type: 'number', default: 0.2, min: 0, max: 1, describe: 'share of each task vector that is kept' }, lambda: lambdaOption, normalize: normalizeOption(true) },
  needsBase: true,
  merge: (t, { density, lambda, normalize, rescale }) => addTo(t.base!, electedSum(taskVectors(t).map((tau, i) => trim(tau, t.densities?.[i] ?? density, rescale)), t.weights, normalize), lambda),
};

export default ties;
