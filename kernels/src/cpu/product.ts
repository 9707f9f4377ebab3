/** Matrix products of flattened operands with all that may follow in the same pass: scale, addend, bias, activation. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';
import { KERNELS } from '../ops/activation.js';
import type { Product } from '../ops/product.js';

defineKernel<Required<Product>>('GraftProduct', ({ inputs: { a, b, add, bias }, attrs, backend }) => {
  const { transposeA, transposeB, alpha, activation, keep, coded } = attrs;
  const [m, k] = flat(a.shape, transposeA);
  const [kb, n] = flat(b.shape, transposeB);
  tf.util.assert(k === kb, () => `product: inner sizes ${k} and ${kb} differ (shapes [${a.shape}] and [${b.shape}])`);
  const shape = transposeA ? [m, n] : [...a.shape.slice(0, -1), n];
  const y = backend.output(shape);
  const before = keep && activation !== 'none' ? backend.output(shape) : undefined;
  const handle = (t: tf.TensorInfo | undefined): number => (t ? backend.handle(t) : -1);
  const op = activation === 'none' ? -1 : backend.native.unaryOp(KERNELS[activation].kernel);
  backend.native.product(handle(a), handle(b), handle(y), m, n, k, transposeA, transposeB, alpha, handle(add), handle(bias), op, handle(before), coded);
  return before ? [y, before] : y;
});

/** The matrix of rows along the last axis. */
function flat(shape: number[], transposed: boolean): [number, number] {
  const cols = shape.at(-1)!;
  const rows = tf.util.sizeFromShape(shape.slice(0, -1));
  return transposed ? [cols, rows] : [rows, cols];
}
