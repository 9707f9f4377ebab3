import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, withGradient } from '../fused.js';
import { hash32, Rng } from '../random.js';

/** Which elements are dropped: those whose index, hashed with both keys, lies below a bound. The rest is multiplied by `keep`. */
export interface Mask { key0: number; key1: number; below: number; keep: number }

/** Zeroes each element with probability `rate` and divides the rest by 1 - rate. The mask is a function of `seed` alone. */
export function dropout<T extends tf.Tensor>(x: T, rate: number, ...seed: (number | string)[]): T {
  if (rate <= 0) return x;
  const rng = new Rng(...seed);
  const mask: Mask = { key0: rng.uint32(), key1: rng.uint32(), below: Math.min(4294967295, Math.round(rate * 4294967296)), keep: 1 / (1 - rate) };
  if (!hasKernel('GraftDropout')) return tf.mul(x, tf.tensor(factors(x.size, mask), x.shape)) as T;
  // The gradient hashes again instead of keeping the mask.
  return withGradient<tf.Tensor>({ x }, () => runKernel('GraftDropout', { x }, mask), (dy) => ({ x: () => runKernel('GraftDropout', { x: dy }, mask) })) as T;
}

function factors(size: number, { key0, key1, below, keep }: Mask): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => (hash32(hash32(i ^ key0) + key1) >>> 0 < below ? 0 : keep));
}
