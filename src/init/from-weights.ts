import { baseOf } from '../adapters/base.js';
import { pairNames, rankAt, scaleAt } from '../adapters/lora.js';
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
export function startFromWeights({ graft, model, checkpoint }: Start, name: string, part: (weight: Weight) => Pair): Graft {
  const { config, sites } = freshLora(graft, model, name);
  const base = baseOf(checkpoint);
  const tensors = new Map(graft.tensors);
  for (const site of sites) {
    const r = rankAt(site, config), s = scaleAt(site, config);
    const { M, m, n } = matrix(site, base.values(site.weight!), base.shape(site.weight!)!);
    if (!isFinite(M)) throw dataError(`${checkpoint.path}: tensor '${site.weight}' holds values that are not finite (NaN or infinity); use an undamaged checkpoint`);
    if (r > Math.min(m, n)) throw usageError(`${name}: rank ${r} at ${site.name} is more than its ${m}×${n} weight has; give a smaller --rank to init-adapter`);
    if (!(s > 0)) throw usageError(`${name}: the scale at ${site.name} is ${s}; it must be positive`);
    const [A, B] = factors(site, part({ site, M, m, n, r, s }), r);
    for (const which of ['', '0'] as const) {
      const names = pairNames(site, which);
      tensors.set(`${site.name}.${names.A}`, A);
      tensors.set(`${site.name}.${names.B}`, B);
    }
  }
  return { ...graft, config: { ...graft.config, residual: true }, tensors };
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
