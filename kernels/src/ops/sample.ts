import * as tf from '@tensorflow/tfjs-core';
import { distribution, draw, type Drawn, type Sampling } from '../distribution.js';

/** What a backend has that draws where the logits are: the same tokens, with scores that differ by roundings. */
export interface Sampler { sampleRows(logits: tf.Tensor2D, uniforms: readonly number[], sampling: Sampling): Drawn[] }

/** Whether the current backend draws so. */
export const samplesInPlace = ({ typical, temperature }: Sampling): boolean => typical === 1 && temperature > 0 && 'sampleRows' in tf.backend();

/**
 * A token from each row of logits [N, V], by the inverse of the cumulative distribution at its uniform number in [0, 1); and its ln p
 * among those it was drawn from.
 */
export function sampleRows(logits: tf.Tensor2D, uniforms: readonly number[], sampling: Sampling): Drawn[] {
  if (samplesInPlace(sampling)) return (tf.backend() as unknown as Sampler).sampleRows(logits, uniforms, sampling);
  const values = logits.dataSync<'float32'>(), V = logits.shape[1];
  return uniforms.map((u, i) => draw(distribution(values.subarray(i * V, (i + 1) * V), sampling), u));
}
