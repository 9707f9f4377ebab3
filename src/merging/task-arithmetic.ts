import type { MergingMethod } from './method.js';
import { addTo, lambdaOption, normalizeOption, taskVectors, weightedSum } from './task-vectors.js';

/** θ = θ₀ + λ Σ w_i τ_i; a negative weight unlearns. */
const taskArithmetic: MergingMethod<{ lambda: number; normalize: boolean }> = {
  name: 'task-arithmetic',
  summary: 'add weighted task vectors to the base',
  paper: { title: 'Editing Models with Task Arithmetic', authors: 'Ilharco et al.', year: 2023, url: 'https://arxiv.org/abs/2212.04089' },
  options: { lambda: lambdaOption, normalize: normalizeOption(false) },
  needsBase: true,
  entrywise: true,
  merge: (t, { lambda, normalize }) => addTo(t.base!, weightedSum(taskVectors(t), t.weights, normalize), lambda),
};

export default taskArithmetic;
