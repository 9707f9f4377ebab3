import { GraftError } from '../errors.js';
import type { Pass } from '../models/site.js';
import { CONDITIONS } from '../models/unet.js';
import { conditionOf, type Condition } from './conditions.js';

/** Embeddings of conditions: row after row of a table, each `width` numbers, and one for none after those of the `classes`. */
export interface ConditionTable { values: Float32Array; width: number; classes: number }

/**
 * γ of a prompt for a concept (Lyu et al., 2024, section 3.4): the cosine of their embeddings, flattened and as long as the longer, or the share of
 * the concept's conditions that the prompt names, whichever is more.
 */
export function permeability(prompt: Condition, concept: Condition, table: ConditionTable): number {
  const named = new Set(prompt), distinct = [...new Set(concept)];
  const overlap = distinct.length > 0 ? distinct.filter((c) => named.has(c)).length / distinct.length : 0;
  return Math.max(overlap, cosine(embedded(prompt, table), embedded(concept, table)));
}

function embedded(condition: Condition, { values, width, classes }: ConditionTable): number[] {
  return (condition.length > 0 ? condition : [classes]).flatMap((row) => [...values.subarray(row * width, (row + 1) * width)]);
}

/** What the shorter lacks is 0. */
function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = a.reduce((sum, v, i) => sum + v * (b[i] ?? 0), 0), norm = (v: readonly number[]): number => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
  return dot / (norm(a) * norm(b) || 1);
}

const known = new WeakMap<Pass, Map<object, Float32Array>>();

/**
 * γ of every image of a pass for a graft's concepts, the nearest of them; null where images are not generated under prompts, or the graft names
 * no concept.
 * @throws GraftError (1) for a concept that is none of the model's
 */
export function permeabilities(pass: Pass, config: { concept?: readonly string[] }): Float32Array | null {
  const { prompt: prompts, labels } = pass.route;
  if (!prompts || !labels || !config.concept?.length) return null;
  const found = known.get(pass) ?? new Map<object, Float32Array>();
  known.set(pass, found);
  const before = found.get(config);
  if (before) return before;
  const concepts = config.concept.map((text) => {
    const concept = conditionOf(text, labels);
    if (!concept) throw new GraftError(`the graft erases ${JSON.stringify(text)}, which is none of the model's conditions (${labels.slice(0, 5).join(', ')}${labels.length > 5 ? ', …' : ''})`);
    return concept;
  });
  const rows = pass.weight(`${CONDITIONS}.weight`), table = { values: rows.dataSync() as Float32Array, width: rows.shape[1]!, classes: labels.length };
  const gammas = Float32Array.from(prompts, (p) => Math.max(...concepts.map((c) => permeability(p, c, table))));
  found.set(config, gammas);
  return gammas;
}
