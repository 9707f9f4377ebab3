import * as tf from '@tensorflow/tfjs-core';
import { Rng } from '../random.js';

/** Zeroes each element with probability `rate` and divides the rest by 1 - rate. The mask is a function of `seed` alone. */
export function dropout<T extends tf.Tensor>(x: T, rate: number, ...seed: (number | string)[]): T {
  if (rate <= 0) return x;
  const rng = new Rng(...seed);
  const keep = 1 / (1 - rate);
  const mask = tf.tensor(Float32Array.from({ length: x.size }, () => (rng.uint32() < rate * 4294967296 ? 0 : keep)), x.shape);
  return tf.mul(x, mask) as T;
}
