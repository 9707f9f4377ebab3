import type { Svd } from '@graft/kernels';
import { baseOf } from '../adapters/base.js';
import type { Base } from '../adapters/instantiate.js';
import { pairNames, rankAt, scaleAt, type LoraConfig } from '../adapters/lora.js';
import { dataError, usageError } from '../errors.js';
import { isFinite } from '../finite.js';
import type { Graft } from '../formats/graft.js';
import type { Site } from '../models/site.js';
import type { Start } from './initialiser.js';
import { freshLora, stored } from './lora-graft.js';

/** A weight [m, n] as the matrix that B A changes: [out, in·kh·kw], or the table [V, d]; r and s are the site's rank and scale. */
export interface Weight { site: Site; M: Float32Array; m: number; n: number; r: number; s: number }

/** A₀ [r, n] and B₀ [m, r], row-major. */
export interface Pair { A: Float64Array; B: Float64Array }

/**
 * A LoRA that starts as a part s·B₀A₀ of each weight, which is taken out of what is frozen: W_res = W − s·B₀A₀. A₀ and B₀ are stored
 * beside A and B, so that W_res is recomputed from the base exactly.
 */
export function startFromWeights(start: Start, name: string, part: (weight: Weight) => Pair): Graft {
  const parts = new WeightParts(start, name);
  for (const site of parts.sites) parts.place(site, part);
  return parts.graft();
}

/** A fresh LoRA whose sites get A and B from parts of their weights, one weight at a time. */
export class WeightParts {
  readonly sites: Site[];
  private readonly config: LoraConfig;
  private readonly base: Base;
  private readonly tensors: Graft['tensors'];

  constructor(private readonly start: Start, private readonly name: string) {
    const { config, sites } = freshLora(start.graft, start.model, name);
    [this.config, this.sites, this.base, this.tensors] = [config, sites, baseOf(start.checkpoint), new Map(start.graft.tensors)];
  }

  place(site: Site, part: (weight: Weight) => Pair): void {
    const { name, config, base } = this;
    const r = rankAt(site, config), s = scaleAt(site, config);
    const { M, m, n } = matrix(site, base.values(site.weight!), base.shape(site.weight!)!);
    if (!isFinite(M)) throw dataError(`${this.start.checkpoint.path}: tensor '${site.weight}' holds values that are not finite (NaN or infinity); use an undamaged checkpoint`);
    if (r > Math.min(m, n)) throw usageError(`${name}: rank ${r} at ${site.name} is more than its ${m}×${n} weight has; give a smaller --rank to init-adapter`);
    if (!(s > 0)) throw usageError(`${name}: the scale at ${site.name} is ${s}; it must be positive`);
    const [A, B] = factors(site, part({ site, M, m, n, r, s }), r);
    const names = pairNames(site);
    this.tensors.set(`${site.name}.${names.A}`, A).set(`${site.name}.${names.B}`, B);
  }

  /** @param residual what the pairs make is taken out of the frozen weights: they are kept as A₀ and B₀ as well. Sites without a part start as LoRA's do. */
  graft({ residual = true }: { residual?: boolean } = {}): Graft {
    const { graft } = this.start;
    if (!residual) return { ...graft, tensors: this.tensors };
    for (const site of this.sites) {
      const [now, first] = [pairNames(site), pairNames(site, '0')];
      for (const which of ['A', 'B'] as const) this.tensors.set(`${site.name}.${first[which]}`, this.tensors.get(`${site.name}.${now[which]}`)!);
    }
    return { ...graft, config: { ...graft.config, residual }, tensors: this.tensors };
  }
}

/** √(S/s)-balanced A₀ and B₀ of the triplets of a decomposition W = U diag(S) Vᵀ that `from` on are: s·B₀A₀ is their sum. */
export function balanced({ U, S, Vt, m, n, k }: Svd, from: number, r: number, s: number): Pair {
  const A = new Float64Array(r * n), B = new Float64Array(m * r);
  for (let i = 0; i < r; i++) {
    const root = Math.sqrt(S[from + i] / s);
    for (let j = 0; j < n; j++) A[i * n + j] = root * Vt[(from + i) * n + j];
    for (let j = 0; j < m; j++) B[j * r + i] = root * U[j * k + from + i];
  }
  return { A, B };
}

/** The weight as the matrix that B A changes: [out, in·kh·kw], or the table [V, d]. */
function matrix(site: Site, values: Float32Array, shape: readonly number[]): { M: Float32Array; m: number; n: number } {
  const [rows, columns] = [shape[0], values.length / shape[0]];
  if (!site.transposed) return { M: values, m: rows, n: columns };
  return { M: transposed(values, rows, columns), m: columns, n: rows };
}

/** A₀ and B₀ in the shapes the site stores them in. */
function factors(site: Site, { A, B }: Pair, r: number): [ReturnType<typeof stored>, ReturnType<typeof stored>] {
  const n = A.length / r, m = B.length / r;
  // At embeddings A is lora_embedding_Bᵀ and B is lora_embedding_Aᵀ.
  if (site.kind === 'embedding') return [stored(transposed(B, m, r), [r, m]), stored(transposed(A, r, n), [n, r])];
  const window = site.conv?.kernel ?? [];
  return [stored(A, [r, site.dimIn, ...window]), stored(B, [site.dimOut, r, ...window.map(() => 1)])];
}

function transposed<T extends Float32Array | Float64Array>(values: T, rows: number, columns: number): T {
  const out = values.slice() as T;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j];
  return out;
}
