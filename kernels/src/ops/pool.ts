import * as tf from '@tensorflow/tfjs-core';
import { hasKernel } from '../fused.js';

/** The largest value in each window of size × size pixels; `padding` pixels around the image are in no maximum. x: [B, H, W, C]; as PyTorch's MaxPool2d. */
export function maxPool(x: tf.Tensor4D, size: number, stride: number, padding = 0): tf.Tensor4D {
  if (padding === 0 || hasKernel('Convolution')) return tf.maxPool(x, size, stride, padding);
  // TensorFlow's kernel takes no explicit padding.
  const around: [number, number] = [padding, padding];
  return tf.maxPool(tf.pad(x, [[0, 0], around, around, [0, 0]], -Infinity) as tf.Tensor4D, size, stride, 'valid');
}
