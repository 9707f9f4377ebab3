/** Reductions over any axes, as TensorFlow.js names and types them. */
import * as tf from '@tensorflow/tfjs-core';
import { type GraftBackend } from '../backend.js';
import { castTo } from './elementwise.js';
import { defineNumeric, typeOf, type NativeType } from './numeric.js';

/** Codes of cpu/reduce.h. */
const REDUCTION = { Sum: 0, Prod: 1, Max: 2, Min: 3, All: 4, Any: 5 } as const;
type Name = keyof typeof REDUCTION;

/** Runs of neighbouring axes that are all reduced or all kept, outermost first; axes of size 1 belong to any run. */
function runs(shape: readonly number[], axes: readonly number[]): { size: number; reduced: boolean }[] {
  const out: { size: number; reduced: boolean }[] = [];
  shape.forEach((size, axis) => {
    const reduced = axes.includes(axis);
    const last = out.at(-1);
    if (size === 1) return;
    if (last?.reduced === reduced) last.size *= size;
    else out.push({ size, reduced });
  });
  return out;
}

const product = (sizes: { size: number }[]): number => sizes.reduce((n, { size }) => n * size, 1);

/** Reduces run by run from the last one on; float32 sums are scaled at the end. */
function reduce(backend: GraftBackend, name: Name, x: tf.TensorInfo, axes: number[], keepDims: boolean, dtype: NativeType, scale = 1): tf.TensorInfo {
  const shape = keepDims ? x.shape.map((n, i) => (axes.includes(i) ? 1 : n)) : x.shape.filter((_, i) => !axes.includes(i));
  const left = runs(x.shape, axes);
  if (!left.some((run) => run.reduced)) left.push({ size: 1, reduced: true });
  let current = backend.alias(x);
  for (let last = left.findLastIndex((run) => run.reduced); last >= 0; last = left.findLastIndex((run) => run.reduced)) {
    const [outer, inner] = [product(left.slice(0, last)), product(left.slice(last + 1))];
    const { size } = left[last];
    left.splice(last, 1);
    const done = !left.some((run) => run.reduced);
    const y = backend.output(done ? shape : [outer * inner], dtype);
    backend.native.reduce(REDUCTION[name], backend.handle(current), backend.handle(y), outer, size, inner, done ? scale : 1);
    backend.release(current);
    current = y;
  }
  return current;
}

interface Attrs { axis: number | number[]; keepDims: boolean }

const axesOf = (axis: number | number[], shape: number[]): number[] => tf.util.parseAxisParam(axis, shape);

/** Sums and products of bools are integers. */
const counting = (x: tf.TensorInfo): NativeType => (x.dtype === 'bool' ? 'int32' : typeOf(x));

for (const name of ['Sum', 'Prod'] as const) {
  defineNumeric<Attrs>(name, ({ inputs: { x }, attrs: { axis, keepDims }, backend }) => reduce(backend, name, x, axesOf(axis, x.shape), keepDims, counting(x)));
}
for (const name of ['Min', 'All', 'Any'] as const) {
  defineNumeric<Attrs>(name, ({ inputs: { x }, attrs: { axis, keepDims }, backend }) => reduce(backend, name, x, axesOf(axis, x.shape), keepDims, typeOf(x)));
}
defineNumeric<{ reductionIndices: number | number[]; keepDims: boolean }>('Max', ({ inputs: { x }, attrs: { reductionIndices, keepDims }, backend }) =>
  reduce(backend, 'Max', x, axesOf(reductionIndices, x.shape), keepDims, typeOf(x)));

defineNumeric<Attrs>('Mean', ({ inputs: { x }, attrs: { axis, keepDims }, backend }) => {
  const axes = axesOf(axis, x.shape);
  const count = axes.reduce((n, a) => n * x.shape[a], 1);
  const floats = castTo(backend, x, 'float32');
  const y = reduce(backend, 'Sum', floats, axes, keepDims, 'float32', count ? 1 / count : 1);
  backend.release(floats);
  return y;
});

/** [outer, axis, inner] of a shape around one axis. */
export function around(shape: readonly number[], axis: number): [number, number, number] {
  const size = (part: readonly number[]): number => part.reduce((a, b) => a * b, 1);
  return [size(shape.slice(0, axis)), shape[axis] ?? 1, size(shape.slice(axis + 1))];
}

for (const [name, largest] of [['ArgMax', true], ['ArgMin', false]] as const) {
  defineNumeric<{ axis: number }>(name, ({ inputs: { x }, attrs, backend }) => {
    const [axis] = axesOf(attrs.axis, x.shape);
    const y = backend.output(x.shape.filter((_, i) => i !== axis), 'int32');
    const floats = castTo(backend, x, 'float32');
    backend.native.argBest(largest, backend.handle(floats), backend.handle(y), ...around(x.shape, axis));
    backend.release(floats);
    return y;
  });
}

for (const [name, multiply] of [['Cumsum', false], ['Cumprod', true]] as const) {
  defineNumeric<{ axis: number; exclusive: boolean; reverse: boolean }>(name, ({ inputs: { x }, attrs: { axis, exclusive, reverse }, backend }) => {
    const y = backend.output(x.shape, counting(x));
    backend.native.cumulate(multiply, backend.handle(x), backend.handle(y), ...around(x.shape, axesOf(axis, x.shape)[0]), exclusive, reverse);
    return y;
  });
}
