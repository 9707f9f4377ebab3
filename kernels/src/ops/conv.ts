import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, isConstant, runKernel, withGradient } from '../fused.js';

export interface ConvOptions {
  stride?: number;
  /** Zeros added on each side. */
  padding?: number;
  dilation?: number;
  /** Input and output channels fall into as many parts, each convolved on its own. */
  groups?: number;
}

export type ConvAttrs = Required<ConvOptions>;

/** Output pixels along an axis of `size` pixels under a filter of k taps. */
export function outputSize(size: number, k: number, { stride, padding, dilation }: Omit<ConvAttrs, 'groups'>): number {
  return Math.floor((size + 2 * padding - dilation * (k - 1) - 1) / stride) + 1;
}

/** 2-D convolution. x: [B, H, W, Cin]; w: [Cout, Cin/groups, kh, kw] as checkpoints store it; b: [Cout] or null; returns NHWC. */
export function conv2d(x: tf.Tensor4D, w: tf.Tensor4D, b: tf.Tensor1D | null = null, options: ConvOptions = {}): tf.Tensor4D {
  const xShape = x.shape;
  const attrs: ConvAttrs = { stride: 1, padding: 0, dilation: 1, groups: 1, ...options };
  if (!hasKernel('Convolution')) return reference(x, w, b, attrs);
  return withGradient<tf.Tensor4D>(
    { x, w, b },
    (save) => {
      save(isConstant(w) ? [w] : [w, x]);
      return runKernel('Convolution', { x, w, b }, attrs);
    },
    (dy, [w, x]) => ({
      x: () => runKernel('ConvolutionInputGrad', { dy, w }, { ...attrs, xShape }),
      w: () => runKernel('ConvolutionFilterGrad', { x, dy }, { ...attrs, wShape: w.shape }),
      b: () => tf.sum(dy, [0, 1, 2]),
    }),
  );
}

function reference(x: tf.Tensor4D, w: tf.Tensor4D, b: tf.Tensor1D | null, { stride, padding, dilation, groups }: ConvAttrs): tf.Tensor4D {
  const filter = tf.transpose(w, [2, 3, 1, 0]);
  const padded = padding > 0 ? tf.pad(x, [[0, 0], [padding, padding], [padding, padding], [0, 0]]) : x;
  const one = (input: tf.Tensor4D, part: tf.Tensor4D): tf.Tensor4D => tf.conv2d(input, part, stride, 'valid', 'NHWC', dilation);
  const grouped = (): tf.Tensor4D => {
    const filters = tf.split(filter, groups, 3) as tf.Tensor4D[];
    return tf.concat((tf.split(padded, groups, 3) as tf.Tensor4D[]).map((input, i) => one(input, filters[i])), 3);
  };
  const y = groups === 1 ? one(padded as tf.Tensor4D, filter as tf.Tensor4D) : grouped();
  return b ? tf.add(y, b) : y;
}
