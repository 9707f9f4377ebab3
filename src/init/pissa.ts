import { randomizedSvd, Rng, topSvd } from '@graft/kernels';
import type { OptionValues } from '../options.js';
import { balanced, startFromWeights, type Pair, type Weight } from './from-weights.js';
import type { Initialiser } from './initialiser.js';

/**
 * PiSSA: with W = U S Vᵀ, A₀ = √(S_r/s) V_rᵀ and B₀ = U_r √(S_r/s) of the r largest singular values; what is frozen is
 * W_res = W − s·B₀A₀ (eqs. 2–4). A₀ and B₀ are stored beside A and B, so that W_res is recomputed from the base exactly.
 */
const pissa: Initialiser<{ niter: number } & OptionValues> = {
  name: 'pissa',
  summary: 'A and B start as the principal part of the weight, which is taken out of the frozen base',
  paper: { title: 'PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models', authors: 'Meng, Wang, Zhang', year: 2024, url: 'https://arxiv.org/abs/2404.02948' },
  options: { niter: { type: 'number', metavar: 'N', default: 0, min: 0, describe: 'rounds of the randomised decomposition; 0: the exact one' } },
  needsData: false,

  run: async (start, { niter }) => startFromWeights(start, 'pissa', (weight) => principal(weight, niter, start.seed)),
};

export default pissa;

function principal({ site, M, m, n, r, s }: Weight, niter: number, seed: number): Pair {
  return balanced(niter > 0 ? randomizedSvd(M, m, n, r, niter, new Rng('pissa', seed, site.name)) : topSvd(M, m, n, r), 0, r, s);
}
