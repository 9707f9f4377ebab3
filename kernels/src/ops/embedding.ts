import * as tf from '@tensorflow/tfjs-core';

/** Rows of `table` [V, d] at `ids` (int32, any shape): [...ids.shape, d]. The gradient adds up where ids repeat. */
export function embedding(table: tf.Tensor2D, ids: tf.Tensor): tf.Tensor {
  const rows = tf.gather(table, tf.cast(tf.reshape(ids, [-1]), 'int32') as tf.Tensor1D);
  return tf.reshape(rows, [...ids.shape, table.shape[1]]);
}
