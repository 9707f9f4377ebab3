import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, withGradient } from '../fused.js';

export interface CrossEntropyOptions {
  /** Rows with this label cost nothing. Default -100. */
  ignoreIndex?: number;
  /** ε in (1-ε)·nll + ε·mean_c(-log p_c), as PyTorch has it. Default 0. */
  labelSmoothing?: number;
}

/**
 * Cross-entropy of each row from logits [N, C] and int32 labels [N]: [N], zero where the label is ignored. The gradient is
 * softmax minus target, from the logits and each row's log Z.
 */
export function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D, options: CrossEntropyOptions = {}): tf.Tensor1D {
  const { ignoreIndex = -100, labelSmoothing = 0 } = options;
  const ids = tf.cast(labels, 'int32');
  if (!hasKernel('CrossEntropy')) return reference(logits, ids, ignoreIndex, labelSmoothing);
  const attrs = { ignoreIndex, labelSmoothing };
  return withGradient<tf.Tensor>({ logits }, (save) => {
    const [loss, logZ] = runKernel<tf.Tensor[]>('CrossEntropy', { logits, labels: ids }, attrs);
    save([logits, ids, logZ]);
    return loss;
  }, (dy, [x, y, logZ]) => ({ logits: () => runKernel('CrossEntropyGrad', { dy, logits: x, labels: y, logZ }, attrs) })) as tf.Tensor1D;
}

function reference(logits: tf.Tensor2D, labels: tf.Tensor1D, ignoreIndex: number, labelSmoothing: number): tf.Tensor1D {
  const C = logits.shape[1];
  const kept = tf.cast(tf.notEqual(labels, ignoreIndex), 'float32');
  const target = tf.oneHot(labels, C, 1 - labelSmoothing + labelSmoothing / C, labelSmoothing / C, 'float32') as tf.Tensor2D;
  return tf.mul(kept, tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(logits)), -1))) as tf.Tensor1D;
}
