import * as tf from '@tensorflow/tfjs-core';
import { runKernel, withGradient } from '../fused.js';

/**
 * Rows of `table` [V, d] at `ids` (int32, any shape): [...ids.shape, d]. The gradient adds up where ids repeat. A mapped
 * table stays as it is stored: only the rows that are asked for are widened.
 */
export function embedding(table: tf.Tensor2D, ids: tf.Tensor): tf.Tensor {
  const [V, d] = table.shape;
  const flat = tf.cast(tf.reshape(ids, [-1]), 'int32');
  const rows = withGradient<tf.Tensor>({ table }, (save) => {
    save([flat]);
    return runKernel('GatherV2', { x: table, indices: flat }, { axis: 0, batchDims: 0 });
  }, (dy, [segmentIds]) => ({ table: () => runKernel('UnsortedSegmentSum', { x: dy, segmentIds }, { numSegments: V }) }));
  return tf.reshape(rows, [...ids.shape, d]);
}
