import * as tf from '@tensorflow/tfjs-core';

export interface ConvOptions {
  stride?: number;
  /** Zeros added on each side. */
  padding?: number;
  dilation?: number;
}

/** 2-D convolution. x: [B, H, W, Cin]; w: [Cout, Cin, kh, kw] as checkpoints store it; b: [Cout] or null; returns NHWC. */
export function conv2d(x: tf.Tensor4D, w: tf.Tensor4D, b: tf.Tensor1D | null = null, options: ConvOptions = {}): tf.Tensor4D {
  const { stride = 1, padding = 0, dilation = 1 } = options;
  const filter = tf.transpose(w, [2, 3, 1, 0]);
  const padded = padding > 0 ? tf.pad(x, [[0, 0], [padding, padding], [padding, padding], [0, 0]]) : x;
  const y = tf.conv2d(padded, filter, stride, 'valid', 'NHWC', dilation);
  return b ? tf.add(y, b) : y;
}
