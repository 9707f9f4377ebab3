import * as tf from '@tensorflow/tfjs-core';

export type Activation = 'none' | 'relu' | 'gelu' | 'gelu_new' | 'silu' | 'tanh' | 'sigmoid';

/** Reference, element-wise. `gelu` is x Φ(x); `gelu_new` its tanh approximation (Hendrycks & Gimpel, 2016); `silu` x σ(x). */
export function activate<T extends tf.Tensor>(x: T, kind: Activation): T {
  switch (kind) {
    case 'none': return x;
    case 'relu': return tf.relu(x);
    case 'tanh': return tf.tanh(x);
    case 'sigmoid': return tf.sigmoid(x);
    case 'silu': return tf.mul(x, tf.sigmoid(x)) as T;
    case 'gelu': return tf.mul(x, tf.add(tf.mul(tf.erf(tf.mul(x, Math.SQRT1_2)), 0.5), 0.5)) as T;
    case 'gelu_new': {
      const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.mul(x, tf.mul(x, x)))));
      return tf.mul(x, tf.mul(0.5, tf.add(1, tf.tanh(inner)))) as T;
    }
  }
}
