/** Kernels that only change how memory is read. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';

defineKernel('Identity', ({ inputs, backend }) => backend.alias(inputs.x));

defineKernel<{ shape: number[] }>('Reshape', ({ inputs: { x }, attrs, backend }) => {
  const size = tf.util.sizeFromShape(x.shape);
  const shape = tf.util.inferFromImplicitShape(attrs.shape, size);
  tf.util.assert(size === tf.util.sizeFromShape(shape), () => `Reshape: [${x.shape}] has ${size} elements, [${shape}] another number`);
  return backend.alias(x, shape);
});

defineKernel<{ dim: number }>('ExpandDims', ({ inputs: { input }, attrs: { dim }, backend }) => {
  const shape = input.shape.slice();
  tf.util.assert(dim >= -shape.length - 1 && dim <= shape.length, () => `Axis must be in the interval [${-shape.length - 1}, ${shape.length}]`);
  shape.splice(dim < 0 ? dim + input.shape.length + 1 : dim, 0, 1);
  return backend.alias(input, shape);
});
