/** Maximum and average pooling with their gradients. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';

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
  defineKernel<Attrs>(name, ({ inputs: { x }, attrs, backend }) => {
    const g = geometry(x.shape, attrs);
    const y = backend.output([g[0], g[6], g[7], g[3]]);
    backend.native.poolForward(backend.handle(x), backend.handle(y), g, average);
    return y;
  });

defineKernel<Attrs>('MaxPoolGrad', ({ inputs: { dy, input }, attrs, backend }) => {
  const dx = backend.output(input.shape);
  backend.native.maxPoolGradient(backend.handle(input), backend.handle(dy), backend.handle(dx), geometry(input.shape, attrs));
  return dx;
});

defineKernel<Attrs>('AvgPoolGrad', ({ inputs: { dy, input }, attrs, backend }) => {
  const dx = backend.output(input.shape);
  backend.native.averagePoolGradient(backend.handle(dy), backend.handle(dx), geometry(input.shape, attrs));
  return dx;
});
