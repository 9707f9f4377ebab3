import * as tf from '@tensorflow/tfjs-core';

export interface CrossEntropyOptions {
  /** Rows with this label cost nothing. Default -100. */
  ignoreIndex?: number;
  /** ε in (1-ε)·nll + ε·mean_c(-log p_c), as PyTorch has it. Default 0. */
  labelSmoothing?: number;
}

/** Cross-entropy of each row from logits [N, C] and int32 labels [N]: [N], zero where the label is ignored. */
export function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D, options: CrossEntropyOptions = {}): tf.Tensor1D {
  const { ignoreIndex = -100, labelSmoothing = 0 } = options;
  const C = logits.shape[1];
  const kept = tf.cast(tf.notEqual(labels, ignoreIndex), 'float32');
  const target = tf.oneHot(tf.cast(labels, 'int32'), C, 1 - labelSmoothing + labelSmoothing / C, labelSmoothing / C) as tf.Tensor2D;
  return tf.mul(kept, tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(logits)), -1))) as tf.Tensor1D;
}
