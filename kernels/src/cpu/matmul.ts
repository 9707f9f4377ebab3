/** Batched matrix products with broadcasting over the batch axes. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';
import { castTo } from './elementwise.js';
import { type NativeType } from './numeric.js';

interface Attrs { transposeA: boolean; transposeB: boolean }

defineKernel<Attrs>('BatchMatMul', ({ inputs: { a, b }, attrs: { transposeA, transposeB }, backend }) => {
  const [m, k] = outerInner(a.shape, transposeA);
  const [n, kb] = outerInner(b.shape, !transposeB);
  tf.util.assert(k === kb, () => `matMul: inner sizes ${k} and ${kb} differ (shapes [${a.shape}] and [${b.shape}])`);
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const y = backend.output([...batch, m, n]);
  const [u, v] = [a, b].map((t) => castTo(backend, t, 'float32'));
  if (k === 0) backend.native.fill(backend.handle(y), 0);
  else if (tf.util.sizeFromShape(y.shape) > 0) {
    backend.native.batchMatMul(backend.handle(u), backend.handle(v), backend.handle(y), m, n, k, transposeA, transposeB, pairs(a.shape, b.shape, batch));
  }
  // Products of integers are integers, exact up to 2^24.
  const result = castTo(backend, y, a.dtype as NativeType);
  for (const t of [u, v, y]) backend.release(t);
  return result;
});

interface Fused extends Attrs { activation: tf.fused.Activation; leakyreluAlpha?: number }

const ACTIVATIONS: Record<tf.fused.Activation, string | null> =
  { linear: null, relu: 'Relu', relu6: 'Relu6', elu: 'Elu', sigmoid: 'Sigmoid', leakyrelu: 'LeakyRelu', prelu: 'Prelu' };

/** TensorFlow.js's own fused product, from the kernels it stands for. */
defineKernel<Fused>('_FusedMatMul', ({ inputs: { a, b, bias, preluActivationWeights }, attrs, backend }) => {
  let y: tf.TensorInfo | undefined;
  const then = (name: string, inputs: Record<string, tf.TensorInfo>, attrs: object = {}): void => {
    const next = tf.getKernel(name, backend.name).kernelFunc({ inputs, attrs: attrs as tf.NamedAttrMap, backend }) as tf.TensorInfo;
    if (y) backend.release(y);
    y = next;
  };
  const { transposeA, transposeB, activation, leakyreluAlpha } = attrs;
  then('BatchMatMul', { a, b }, { transposeA, transposeB });
  if (bias) then('Add', { a: y!, b: bias });
  const kernel = ACTIVATIONS[activation];
  if (kernel) then(kernel, activation === 'prelu' ? { x: y!, alpha: preluActivationWeights } : { x: y! }, { alpha: leakyreluAlpha });
  return y!;
});

function outerInner(shape: number[], swapped: boolean): [number, number] {
  const [rows, cols] = shape.slice(-2);
  return swapped ? [cols, rows] : [rows, cols];
}

const ONE_PAIR = new Int32Array(2);

/** For each output matrix the number of the matrix of a and of b it comes from. */
function pairs(a: number[], b: number[], batch: number[]): Int32Array {
  if (batch.length === 0) return ONE_PAIR;
  const out = new Int32Array(2 * tf.util.sizeFromShape(batch));
  const locate = (shape: number[], i: number): number => {
    let at = 0;
    for (let axis = batch.length - 1, step = 1; axis >= 0; axis--) {
      const size = shape[shape.length - 2 - (batch.length - axis)] ?? 1;
      at += (size === 1 ? 0 : i % batch[axis]) * step;
      step *= size;
      i = Math.floor(i / batch[axis]);
    }
    return at;
  };
  for (let i = 0; i < out.length / 2; i++) out.set([locate(a, i), locate(b, i)], 2 * i);
  return out;
}
