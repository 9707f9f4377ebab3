/** Maximum and average pooling with their gradients. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';
import { fallBack, sameShape } from './numeric.js';

interface Attrs {
  filterSize: number | [number, number];
  strides: number | [number, number];
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

/** The numbers of struct PoolGeometry. */
function geometry(shape: number[], { filterSize, strides, pad, dimRoundingMode }: Attrs): number[] {
  const i = tf.backend_util.computePool2DInfo(shape as [number, number, number, number], filterSize, strides, 1, pad, dimRoundingMode);
  return [i.batchSize, i.inHeight, i.inWidth, i.inChannels, i.filterHeight, i.filterWidth, i.outHeight, i.outWidth,
    i.strideHeight, i.strideWidth, i.padInfo.top, i.padInfo.left, 1, 1];
}

for (const [name, average] of [['MaxPool', false], ['AvgPool', true]] as const)
  defineKernel<Attrs>(name, (call) => {
    const { inputs: { x }, attrs, backend } = call;
    if (x.dtype !== 'float32') return fallBack(name, call);
    const g = geometry(x.shape, attrs), shape = [g[0], g[6], g[7], g[3]];
    if (g[4] * g[5] === 1 && sameShape(shape, x.shape)) return backend.alias(x); // whatever the padding, as in TensorFlow.js
    const y = backend.output(shape);
    backend.native.poolForward(backend.handle(x), backend.handle(y), g, average);
    return y;
  });

defineKernel<Attrs>('MaxPoolGrad', ({ inputs: { dy, input }, attrs, backend }) => {
  const dx = backend.output(input.shape);
  backend.native.maxPoolGradient(backend.handle(input), backend.handle(dy), backend.handle(dx), geometry(input.shape, attrs));
  return dx;
});

/** With explicit padding TensorFlow.js demands that padded pixels share in the gradient, though they do not count in the forward pass. */
defineKernel<Attrs>('AvgPoolGrad', (call) => {
  const { inputs: { dy, input }, attrs, backend } = call;
  if (Array.isArray(attrs.pad)) return fallBack('AvgPoolGrad', call);
  const dx = backend.output(input.shape);
  backend.native.averagePoolGradient(backend.handle(dy), backend.handle(dx), geometry(input.shape, attrs));
  return dx;
});
