import type { MergingMethod } from './method.js';
import { divisorOf, normalizeOption, weightedSum } from './task-vectors.js';

/** θ = Σ w_i θ_i / Σ w_i. */
const linear: MergingMethod<{ normalize: boolean }> = {
  name: 'linear',
  summary: 'weighted mean of the weights (model soup)',
  paper: { title: 'Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time', authors: 'Wortsman et al.', year: 2022, url: 'https://arxiv.org/abs/2203.05482' },
  options: { normalize: normalizeOption(true) },
  needsBase: false,
  entrywise: true,
  divisor: (weights, { normalize }) => divisorOf(weights, normalize),
  merge: ({ models, weights }, { normalize }) => weightedSum(models, weights, normalize),
};

export default linear;
