import { Rng, tf, type Scalar, type Tensor } from '@graft/kernels';
import type { Site } from '../models/site.js';
import type { Params } from './method.js';

/**
 * Tensors that training extends: `name` and, in the order they came, `name.1`, `name.2` and so on. Each has an optimiser state and a
 * schedule of its own.
 */
export function blocks(p: Params | ReadonlyMap<string, Tensor>, name: string): Tensor[] {
  const find = (key: string): Tensor | undefined => (p instanceof Map ? p.get(key) : (p as Params)[key]);
  const found: Tensor[] = [];
  for (let t = find(name); t; t = find(`${name}.${found.length}`)) found.push(t);
  return found;
}

/** Side by side along an axis. */
export const joined = (parts: Tensor[], axis: number): Tensor => (parts.length === 1 ? parts[0] : tf.concat(parts, axis));

/** Rows of a factor over what a site reads, columns of one over what it writes, in the shapes PEFT gives LoRA's. */
export const readShape = (site: Site, r: number): number[] => [r, site.dimIn, ...(site.conv?.kernel ?? [])];
export const writeShape = (site: Site, r: number): number[] => [site.dimOut, r, ...(site.conv ? [1, 1] : [])];

/** A factor as a matrix: [r, in·kh·kw] of what reads, [out, r] of what writes. */
export const matrix = (t: Tensor): Tensor => tf.reshape(t, [t.shape[0], t.shape.slice(1).reduce((a, b) => a * b, 1)]);

/** The sites that own a tensor of this name, in an order that does not depend on when tensors came. */
export const owners = (tensors: ReadonlyMap<string, Tensor>, name: string): string[] =>
  [...tensors.keys()].filter((n) => n.endsWith(`.${name}`)).map((n) => n.slice(0, -name.length - 1)).sort();

/** The tensors of one site, named as in its Params. */
export const paramsAt = (tensors: ReadonlyMap<string, Tensor>, site: string): Params =>
  Object.fromEntries([...tensors].filter(([name]) => name.startsWith(`${site}.`)).map(([name, t]) => [name.slice(site.length + 1), t]));

/** Drawn from N(0, std²) by a path of names. */
export function noise(shape: number[], std: number, ...path: (string | number)[]): Tensor {
  const rng = new Rng(...path);
  return tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal(0, std)), shape);
}

/** The `n` sites of the highest score, the first of equals first. */
export const highest = (sites: readonly string[], scores: ArrayLike<number>, n: number): string[] =>
  sites.map((site, i) => ({ site, score: scores[i] })).sort((a, b) => b.score - a.score).slice(0, n).map(({ site }) => site);

/** weight · the mean of ‖AAᵀ − I‖ and ‖BᵀB − I‖ (Frobenius) over the sites' factors, each with all its blocks. Null where nothing is penalised. */
export function orthogonality(params: ReadonlyMap<string, Tensor>, weight: number, names: readonly [string, string] = ['lora_A', 'lora_B']): Scalar | null {
  if (weight === 0) return null;
  const distances = names.flatMap((name, axis) => owners(params, name).flatMap((site) => {
    const whole = matrix(joined(blocks(params, `${site}.${name}`), axis));
    if (whole.size === 0) return [];
    const gram = tf.matMul(whole, whole, axis === 1, axis === 0);
    return [tf.sqrt(tf.sum(tf.square(tf.sub(gram, tf.eye(gram.shape[0])))))];
  }));
  return distances.length === 0 ? null : tf.mul(tf.addN(distances), weight / distances.length) as Scalar;
}
