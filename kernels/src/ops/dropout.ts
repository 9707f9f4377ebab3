import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, withGradient } from '../fused.js';
import { hash32, Rng } from '../random.js';

/** Which elements are dropped: those whose place, hashed with both keys, lies below a bound. The rest is multiplied by `keep`. */
export interface Mask { key0: number; key1: number; below: number; keep: number }

/** The mask that drops nothing. */
export const NOTHING: Mask = { key0: 0, key1: 0, below: 0, keep: 1 };

/** The mask of a rate, a function of `seed` alone; null for a rate of 0. */
export function dropoutMask(rate: number, ...seed: (number | string)[]): Mask | null {
  if (rate <= 0) return null;
  const rng = new Rng(...seed);
  return { key0: rng.uint32(), key1: rng.uint32(), below: Math.min(4294967295, Math.round(rate * 4294967296)), keep: rate < 1 ? 1 / (1 - rate) : 0 };
}

/** Zeroes each element with probability `rate` and divides the rest by 1 - rate. The mask is a function of `seed` alone. */
export function dropout<T extends tf.Tensor>(x: T, rate: number, ...seed: (number | string)[]): T {
  const mask = dropoutMask(rate, ...seed);
  if (!mask) return x;
  if (!hasKernel('GraftDropout')) return tf.mul(x, tf.tensor(factors(x.size, mask), x.shape)) as T;
  // The gradient hashes again instead of keeping the mask.
  return withGradient<tf.Tensor>({ x }, () => runKernel('GraftDropout', { x }, mask), (dy) => ({ x: () => runKernel('GraftDropout', { x: dy }, mask) })) as T;
}

function factors(size: number, mask: Mask): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => (hash(i, mask) >>> 0 < mask.below ? 0 : mask.keep));
}

/** What multiplies each element of rows × columns, from row `first` on, where rows are hashed once: splitmix32's stream from the hash of the row. */
export function rowFactors(first: number, rows: number, columns: number, mask: Mask): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const row = hash(first + i, mask);
    for (let j = 0; j < columns; j++) out[i * columns + j] = hash32(row + Math.imul(j, 0x9e3779b9)) >>> 0 < mask.below ? 0 : mask.keep;
  }
  return out;
}

const hash = (i: number, { key0, key1 }: Mask): number => hash32(hash32(i ^ key0) + key1);
