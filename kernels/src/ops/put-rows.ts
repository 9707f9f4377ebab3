import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel } from '../fused.js';
import { own } from './optimise.js';

/**
 * Writes rows into a variable in place, both seen as tables of rows of `width`: block i of `rows`, lengths[i] of them, goes to row
 * to[i] of `into` and after. Nothing is recorded for gradients.
 */
export function putRows(into: tf.Variable, rows: tf.Tensor, width: number, lengths: readonly number[], to: readonly number[]): void {
  if (hasKernel('GraftPutRows')) {
    own(into);
    runKernel<tf.Tensor[]>('GraftPutRows', { into, rows }, { width, lengths, to });
    return;
  }
  const at = Int32Array.from(lengths.flatMap((n, i) => Array.from({ length: n }, (_, r) => to[i] + r)));
  tf.tidy(() => into.assign(tf.reshape(
    tf.tensorScatterUpdate(tf.reshape(into, [-1, width]), tf.tensor2d(at, [at.length, 1], 'int32'), tf.reshape(rows, [-1, width])), into.shape)));
}
