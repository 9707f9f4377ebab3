/** Kernels that read, add or make rows by index. */
import * as tf from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';
import { castTo } from './elementwise.js';
import { stridesOf } from './move.js';
import { defineNumeric, typeOf, type NativeType } from './numeric.js';

const { backend_util } = tf;

defineNumeric<{ axis: number; batchDims?: number }>('GatherV2', ({ inputs: { x, indices }, attrs, backend }) => {
  const [axis] = tf.util.parseAxisParam(attrs.axis, x.shape);
  const info = backend_util.segment_util.collectGatherOpShapeInfo(x as tf.Tensor, indices as tf.Tensor, axis, attrs.batchDims ?? 0);
  const y = backend.output(info.outputShape, typeOf(x));
  const ids = castTo(backend, indices, 'int32');
  const count = info.batchSize ? tf.util.sizeFromShape(indices.shape) / info.batchSize : 0;
  try {
    backend.native.gather(backend.handle(x), backend.handle(ids), backend.handle(y), info.batchSize, info.outerSize, info.dimSize, info.sliceSize, count);
  } finally {
    backend.release(ids);
  }
  return y;
});

defineNumeric('GatherNd', ({ inputs: { params, indices }, backend }) => {
  const [shape, count, size, strides] = backend_util.prepareAndValidate(params, indices);
  const y = backend.output(shape, typeOf(params));
  const rank = indices.shape[indices.shape.length - 1];
  if (count > 0) backend.native.gatherNd(backend.handle(params), backend.handle(indices), backend.handle(y), strides.slice(0, rank), size, count, String(params.shape));
  return y;
});

defineNumeric<{ shape: number[] }>('ScatterNd', ({ inputs: { indices, updates }, attrs: { shape }, backend }) => {
  const { sliceRank, numUpdates, sliceSize } = backend_util.calculateShapes(updates, indices, shape);
  const y = backend.output(shape, typeOf(updates));
  const strides = stridesOf(shape.slice(0, sliceRank));
  backend.native.scatterNd(backend.handle(updates), backend.handle(indices), backend.handle(y), strides, sliceSize, numUpdates, String(shape));
  return y;
});

defineNumeric<{ numSegments: number }>('UnsortedSegmentSum', ({ inputs: { x, segmentIds }, attrs: { numSegments }, backend }) => {
  const inner = x.shape.slice(segmentIds.shape.length);
  const y = backend.output([numSegments, ...inner], typeOf(x));
  backend.native.segmentSum(backend.handle(x), backend.handle(segmentIds), backend.handle(y), numSegments, tf.util.sizeFromShape(inner));
  return y;
});

defineNumeric<{ depth: number; onValue: number; offValue: number; dtype: NativeType }>('OneHot', ({ inputs: { indices }, attrs: { depth, onValue, offValue, dtype }, backend }) => {
  const y = backend.output([...indices.shape, depth], dtype);
  backend.native.oneHot(backend.handle(indices), backend.handle(y), depth, onValue, offValue);
  return y;
});

defineNumeric<{ k: number; sorted: boolean }>('TopK', ({ inputs: { x }, attrs: { k }, backend }) => {
  const shape = [...x.shape.slice(0, -1), k];
  const [values, indices] = [backend.output(shape, typeOf(x)), backend.output(shape, 'int32')];
  backend.native.topK(backend.handle(x), backend.handle(values), backend.handle(indices), x.shape[x.shape.length - 1], k);
  return [values, indices];
});

interface Range { start: number; stop: number; step: number; dtype: 'float32' | 'int32' }

defineNumeric<Range>('Range', ({ attrs: { start, stop, step, dtype }, backend }) => {
  const empty = start === stop || (start < stop && step < 0) || (stop < start && step > 1);
  const values = tf.util.makeZerosTypedArray(empty ? 0 : Math.abs(Math.ceil((stop - start) / step)), dtype);
  const by = stop < start && step === 1 ? -1 : step;
  for (let i = 0; i < values.length; i++) values[i] = i === 0 ? start : values[i - 1] + by;
  return backend.make(values, [values.length], dtype);
});

interface Put { width: number; lengths: readonly number[]; to: readonly number[] }

defineKernel<Put>('GraftPutRows', ({ inputs: { into, rows }, attrs: { width, lengths, to }, backend }) => {
  backend.native.putRows(backend.handle(into), backend.handle(rows), width, lengths, to);
  return [];
});
