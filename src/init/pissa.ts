import { randomizedSvd, Rng, svd, type Svd } from '@graft/kernels';
import { baseOf } from '../adapters/base.js';
import { pairNames, rankAt, scaleAt } from '../adapters/lora.js';
import { usageError } from '../errors.js';
import type { Site } from '../models/site.js';
import type { OptionValues } from '../options.js';
import type { Initialiser } from './initialiser.js';
import { freshLora, stored } from './lora-graft.js';

/**
 * PiSSA: with W = U S Vᵀ, A₀ = √(S_r/s) V_rᵀ and B₀ = U_r √(S_r/s) of the r largest singular values; what is frozen is
 * W_res = W − s·B₀A₀ (eqs. 2–4). A₀ and B₀ are stored beside A and B, so that W_res is recomputed from the base exactly.
 */
const pissa: Initialiser<{ niter: number } & OptionValues> = {
  name: 'pissa',
  summary: 'A and B start as the principal part of the weight, which is taken out of the frozen base',
  paper: { title: 'PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models', authors: 'Meng, Wang, Zhang', year: 2024, url: 'https://arxiv.org/abs/2404.02948' },
  options: { niter: { type: 'number', default: 0, min: 0, describe: 'rounds of the randomised decomposition; 0: the exact one' } },
  needsData: false,

  async run({ graft, model, checkpoint, seed }, { niter }) {
    const { config, sites } = freshLora(graft, model, 'pissa');
    const base = baseOf(checkpoint);
    const tensors = new Map(graft.tensors);
    for (const site of sites) {
      const r = rankAt(site, config);
      const { M, m, n } = matrix(site, base.values(site.weight!), base.shape(site.weight!)!);
      if (r > Math.min(m, n)) throw usageError(`pissa: rank ${r} at ${site.name} is more than its ${m}×${n} weight has; give a smaller --rank to init-adapter`);
      const top = niter > 0 ? randomizedSvd(M, m, n, r, niter, new Rng('pissa', seed, site.name)) : svd(M, m, n);
      const s = scaleAt(site, config);
      if (!(s > 0)) throw usageError(`pissa: the scale at ${site.name} is ${s}; it must be positive`);
      for (const which of ['', '0'] as const) {
        const names = pairNames(site, which);
        const [A, B] = factors(site, top, r, s);
        tensors.set(`${site.name}.${names.A}`, A);
        tensors.set(`${site.name}.${names.B}`, B);
      }
    }
    return { ...graft, config: { ...graft.config, residual: true }, tensors };
  },
};

export default pissa;

/** The weight as the matrix that B A changes: [out, in·kh·kw], or the table [V, d]. */
function matrix(site: Site, values: Float32Array, shape: readonly number[]): { M: Float32Array; m: number; n: number } {
  const [rows, columns] = [shape[0], values.length / shape[0]];
  if (!site.transposed) return { M: values, m: rows, n: columns };
  const M = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) M[j * rows + i] = values[i * columns + j];
  return { M, m: columns, n: rows };
}

/** A₀ and B₀ in the shapes the site stores them in. */
function factors(site: Site, { U, S, Vt, m, n, k }: Svd, r: number, s: number): [ReturnType<typeof stored>, ReturnType<typeof stored>] {
  const table = site.kind === 'embedding';
  const A = new Float64Array(r * n), B = new Float64Array(m * r);
  for (let i = 0; i < r; i++) {
    const root = Math.sqrt(S[i] / s);
    // At embeddings A is lora_embedding_Bᵀ and B is lora_embedding_Aᵀ.
    for (let j = 0; j < n; j++) A[table ? j * r + i : i * n + j] = root * Vt[i * n + j];
    for (let j = 0; j < m; j++) B[table ? i * m + j : j * r + i] = root * U[j * k + i];
  }
  if (table) return [stored(B, [r, m]), stored(A, [n, r])];
  const window = site.conv?.kernel ?? [];
  return [stored(A, [r, site.dimIn, ...window]), stored(B, [site.dimOut, r, ...window.map(() => 1)])];
}
