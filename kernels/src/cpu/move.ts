/** Kernels that move elements without changing them, all by one strided copy. */
import * as tf from '@tensorflow/tfjs-core';
import { type GraftBackend } from '../backend.js';
import { defineNumeric, typeOf } from './numeric.js';

const { slice_util: slices, backend_util } = tf;

/** Row-major strides, one per axis. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  for (let i = shape.length - 1, step = 1; i >= 0; step *= shape[i--]) strides[i] = step;
  return strides;
}

interface Place { offset?: number; strides?: number[] }

/** Copies a box of `shape` between places in two tensors; by default it starts at the first element and has the tensor's own strides. */
function copy(backend: GraftBackend, x: tf.TensorInfo, from: Place, y: tf.TensorInfo, to: Place, shape: readonly number[]): void {
  backend.native.copy(backend.handle(x), from.offset ?? 0, from.strides ?? stridesOf(x.shape), backend.handle(y), to.offset ?? 0, to.strides ?? stridesOf(y.shape), shape);
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, n, i) => sum + n * b[i], 0);

defineNumeric<{ perm: number[] }>('Transpose', ({ inputs: { x }, attrs: { perm }, backend }) => {
  const y = backend.output(perm.map((axis) => x.shape[axis]), typeOf(x));
  const strides = stridesOf(x.shape);
  copy(backend, x, { strides: perm.map((axis) => strides[axis]) }, y, {}, y.shape);
  return y;
});

function slice(backend: GraftBackend, x: tf.TensorInfo, begin: readonly number[], size: readonly number[]): tf.TensorInfo {
  const y = backend.output(size, typeOf(x));
  copy(backend, x, { offset: dot(begin, stridesOf(x.shape)) }, y, {}, size);
  return y;
}

defineNumeric<{ begin: number | number[]; size: number | number[] }>('Slice', ({ inputs: { x }, attrs, backend }) => {
  const [begin, size] = slices.parseSliceParams(x as tf.Tensor, attrs.begin, attrs.size);
  slices.assertParamsValid(x as tf.Tensor, begin, size);
  return slice(backend, x, begin, size);
});

interface StridedSlice { begin: number[]; end: number[]; strides: number[]; beginMask: number; endMask: number; ellipsisMask: number; newAxisMask: number; shrinkAxisMask: number }

defineNumeric<StridedSlice>('StridedSlice', ({ inputs: { x }, attrs: a, backend }) => {
  const info = slices.sliceInfo(x.shape, a.begin, a.end, a.strides, a.beginMask, a.endMask, a.ellipsisMask, a.newAxisMask, a.shrinkAxisMask);
  const shape = slices.computeOutShape(info.begin, info.end, info.strides);
  const y = backend.output(info.finalShape, typeOf(x));
  const strides = stridesOf(x.shape);
  const place = { offset: dot(info.begin, strides), strides: strides.map((s, i) => s * info.strides[i]) };
  if (tf.util.sizeFromShape(shape) > 0) copy(backend, x, place, y, { strides: stridesOf(shape) }, shape);
  return y;
});

function split(backend: GraftBackend, x: tf.TensorInfo, axis: number, sizes: number[]): tf.TensorInfo[] {
  const begin = new Array<number>(x.shape.length).fill(0);
  return sizes.map((n) => {
    const part = slice(backend, x, begin, x.shape.map((size, i) => (i === axis ? n : size)));
    begin[axis] += n;
    return part;
  });
}

defineNumeric<{ numOrSizeSplits: number | number[]; axis: number }>('SplitV', ({ inputs: { x }, attrs, backend }) => {
  const [axis] = tf.util.parseAxisParam(attrs.axis, x.shape);
  return split(backend, x, axis, backend_util.prepareSplitSize(x as tf.Tensor, attrs.numOrSizeSplits, axis));
});

defineNumeric<{ axis: number }>('Unpack', ({ inputs: { value }, attrs, backend }) => {
  const [axis] = tf.util.parseAxisParam(attrs.axis, value.shape);
  return split(backend, value, axis, new Array<number>(value.shape[axis]).fill(1))
    .map((part) => ({ ...part, shape: value.shape.filter((_, i) => i !== axis) }));
});

function concat(backend: GraftBackend, parts: tf.TensorInfo[], axis: number): tf.TensorInfo {
  const shape = backend_util.computeOutShape(parts.map((t) => t.shape), axis);
  const y = backend.output(shape, typeOf(parts[0]));
  const strides = stridesOf(shape);
  let at = 0;
  for (const part of parts) {
    copy(backend, part, {}, y, { offset: at * strides[axis], strides }, part.shape);
    at += part.shape[axis];
  }
  return y;
}

defineNumeric<{ axis: number }>('Concat', ({ inputs, attrs, backend }) => {
  const parts = Object.values(inputs);
  const [axis] = tf.util.parseAxisParam(attrs.axis, parts[0].shape);
  backend_util.assertParamsConsistent(parts.map((t) => t.shape), axis);
  return concat(backend, parts, axis);
});

defineNumeric<{ axis: number }>('Pack', ({ inputs, attrs, backend }) => {
  const parts = Object.values(inputs);
  for (const t of parts) {
    tf.util.assertShapesMatch(parts[0].shape, t.shape, 'All tensors passed to stack must have matching shapes');
    tf.util.assert(parts[0].dtype === t.dtype, () => 'All tensors passed to stack must have matching dtypes');
  }
  const axis = attrs.axis < 0 ? attrs.axis + parts[0].shape.length + 1 : attrs.axis;
  return concat(backend, parts.map((t) => ({ ...t, shape: [...t.shape.slice(0, axis), 1, ...t.shape.slice(axis)] })), axis);
});

defineNumeric<{ reps: number[] }>('Tile', ({ inputs: { x }, attrs: { reps }, backend }) => {
  const y = backend.output(x.shape.map((n, i) => n * reps[i]), typeOf(x));
  const [from, to] = [stridesOf(x.shape), stridesOf(y.shape)];
  const each = (repeat: (i: number) => number, own: (i: number) => number): number[] => x.shape.flatMap((_, i) => [repeat(i), own(i)]);
  copy(backend, x, { strides: each(() => 0, (i) => from[i]) }, y, { strides: each((i) => to[i] * x.shape[i], (i) => to[i]) }, each((i) => reps[i], (i) => x.shape[i]));
  return y;
});

defineNumeric<{ dims: number | number[] }>('Reverse', ({ inputs: { x }, attrs: { dims }, backend }) => {
  const turned = tf.util.parseAxisParam(dims, x.shape);
  const y = backend.output(x.shape, typeOf(x));
  const strides = stridesOf(x.shape);
  const offset = x.shape.length ? turned.reduce((sum, axis) => sum + (x.shape[axis] - 1) * strides[axis], 0) : 0;
  copy(backend, x, { offset, strides: strides.map((s, i) => (turned.includes(i) ? -s : s)) }, y, {}, x.shape);
  return y;
});

defineNumeric<{ paddings: [number, number][]; constantValue: number }>('PadV2', ({ inputs: { x }, attrs: { paddings, constantValue }, backend }) => {
  const y = backend.output(x.shape.map((n, i) => paddings[i][0] + n + paddings[i][1]), typeOf(x));
  const strides = stridesOf(y.shape);
  backend.native.fill(backend.handle(y), constantValue);
  copy(backend, x, {}, y, { offset: dot(paddings.map((p) => p[0]), strides), strides }, x.shape);
  return y;
});

/** Axis by axis: what lies inside is there already, both borders are read from it backwards. */
defineNumeric<{ paddings: [number, number][]; mode: 'reflect' | 'symmetric' }>('MirrorPad', ({ inputs: { x }, attrs: { paddings, mode }, backend }) => {
  const y = backend.output(x.shape.map((n, i) => paddings[i][0] + n + paddings[i][1]), typeOf(x));
  const strides = stridesOf(y.shape);
  const begin = paddings.map((p) => p[0]);
  copy(backend, x, {}, y, { offset: dot(begin, strides), strides }, x.shape);
  const skip = mode === 'reflect' ? 1 : 0;
  x.shape.forEach((n, axis) => {
    // Axes before this one are whole already; those after it are still without borders.
    const origin = dot(begin.map((b, i) => (i > axis ? b : 0)), strides);
    const shape = (size: number): number[] => y.shape.map((whole, i) => (i < axis ? whole : i === axis ? size : x.shape[i]));
    const back = strides.map((s, i) => (i === axis ? -s : s));
    const [before, after] = paddings[axis];
    const [first, last] = [origin + before * strides[axis], origin + (before + n - 1) * strides[axis]];
    copy(backend, y, { offset: first + (before - 1 + skip) * strides[axis], strides: back }, y, { offset: origin, strides }, shape(before));
    copy(backend, y, { offset: last - skip * strides[axis], strides: back }, y, { offset: last + strides[axis], strides }, shape(after));
  });
  return y;
});
