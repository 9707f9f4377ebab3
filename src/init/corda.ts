import { randomizedSvd, Rng, svd, topSvd } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { OptionValues } from '../options.js';
import { Covariance, metrics, orientedSvd } from './covariance.js';
import { balanced, WeightParts } from './from-weights.js';
import type { Initialiser } from './initialiser.js';

export interface CordaConfig extends OptionValues {
  mode: 'ipm' | 'kpm';
  /** δ */
  damping: number;
  niter: number;
}

/**
 * CorDA: with C' the damped covariance of what a module reads, W C' = U S Vᵀ and V̂ᵀ = Vᵀ C'⁻¹, r components of W = U S V̂ᵀ become
 * A₀ = √(S/s) V̂ᵀ and B₀ = U √(S/s), and what is frozen is W_res = W − s·B₀A₀ (eqs. 3 to 6). Instruction-previewed: the r largest, on the
 * data that will be trained on. Knowledge-preserved: the r smallest, on data of what must be kept.
 */
const corda: Initialiser<CordaConfig> = {
  name: 'corda',
  summary: 'A and B start as the part of the weight that matters most, or least, to the data, which is taken out of the frozen base',
  paper: { title: 'CorDA: Context-Oriented Decomposition Adaptation of Large Language Models for Task-Aware Parameter-Efficient Fine-tuning', authors: 'Yang et al.', year: 2024, url: 'https://arxiv.org/abs/2406.05223' },
  options: {
    mode: { type: 'string', default: 'ipm', choices: ['ipm', 'kpm'], describe: 'ipm: start from what matters most to the data, which is that of the task; kpm: from what matters least to it, and it is what must be kept; modules the data never reaches start as LoRA does' },
    damping: { type: 'number', default: 0.01, min: 1e-9, describe: 'this share of its mean diagonal is added to the covariance' },
    niter: { type: 'number', metavar: 'N', default: 0, min: 0, describe: 'ipm: rounds of the randomised decomposition; 0: the exact one' },
  },
  needsData: true,

  async run(start, { mode, damping, niter }) {
    if (mode === 'kpm' && niter > 0) throw usageError('corda: --niter finds the largest components, --mode kpm needs the smallest');
    const parts = new WeightParts(start, 'corda');
    for await (const [site, metric] of metrics(start.data!, 'corda', parts.sites, (d) => new Covariance(d, damping))) {
      parts.place(site, ({ M, m, n, r, s }) => {
        const d = orientedSvd(M, m, n, metric, (a) => (niter > 0 ? randomizedSvd(a, m, n, r, niter, new Rng('corda', start.seed, site.name)) : mode === 'ipm' ? topSvd(a, m, n, r) : svd(a, m, n)));
        return balanced(d, mode === 'ipm' ? 0 : d.k - r, r, s);
      });
    }
    return parts.graft();
  },
};

export default corda;
