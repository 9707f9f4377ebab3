import * as tf from '@tensorflow/tfjs-core';
import { GraftBackend } from './backend.js';
import { native } from './native.js';

/** Σ w_i x_i / divisor of arrays of one length, added up in double precision in their order. */
export function weightedSum(arrays: readonly Float32Array[], weights: readonly number[], divisor = 1): Float32Array {
  const out = new Float32Array(arrays[0].length), addon = native();
  if (!addon) return reference(arrays, weights, divisor, out);
  addon.weightedSum(out, Float64Array.from(weights), divisor, ...arrays);
  return out;
}

/** The same of entries from `start` on of float tensors, as many as `out` holds. Mapped ones are read where they lie. */
export function weightedSumStored(tensors: readonly tf.Tensor[], weights: readonly number[], divisor: number, start: number, out: Float32Array): Float32Array {
  const backend = tf.backend();
  if (!(backend instanceof GraftBackend)) return reference(tensors.map((t) => (t.dataSync() as Float32Array).subarray(start, start + out.length)), weights, divisor, out);
  backend.native.weightedSumStored(out, Float64Array.from(weights), divisor, start, ...tensors.map((t) => backend.handle(t)));
  return out;
}

export function reference(arrays: readonly Float32Array[], weights: readonly number[], divisor: number, out: Float32Array): Float32Array {
  for (let j = 0; j < out.length; j++) {
    let sum = 0;
    for (let i = 0; i < arrays.length; i++) sum += weights[i] * arrays[i][j];
    out[j] = sum / divisor;
  }
  return out;
}
