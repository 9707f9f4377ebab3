import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { tf } from '../src/index.js';
import { native } from '../src/native.js';
import { agrees, BACKEND, data, gradientHolds, random, skip, start, type Data } from './against.js';

before(start);

type Reduce = (x: tf.Tensor, axis?: number | number[], keepDims?: boolean) => tf.Tensor;
const REDUCTIONS: Record<string, Reduce> = { sum: tf.sum, mean: tf.mean, max: tf.max, min: tf.min, prod: tf.prod };
const CASES: [number[], (number | number[])[]][] = [
  [[], [[]]], [[1], [0]], [[5], [0]], [[33], [0, -1]], [[3, 17], [0, 1, [0, 1], []]], [[2, 3, 5], [0, 1, 2, [0, 2], [1, 2], [0, 1]]],
  [[2, 3, 4, 5], [[1, 3], [0, 2], [0, 1, 2], [1, 2], [-1]]], [[2, 3, 2, 3, 2], [[1, 3], [0, 2, 4]]], [[1, 7, 1, 3], [[0, 2], [1], [0, 1, 2, 3]]],
];

test('sum, mean, max, min and prod over any axes', { skip }, () => {
  for (const [name, f] of Object.entries(REDUCTIONS)) {
    for (const [shape, axes] of CASES) for (const axis of axes) for (const keep of [false, true]) {
      agrees(`${name} over ${axis}`, (x) => f(x, axis, keep), [random(shape)], { tolerance: 2e-6 });
    }
    for (const shape of [[2, 3, 5], [40]]) for (const dtype of ['int32', 'bool'] as Data['dtype'][]) {
      if (dtype === 'int32' || name === 'sum') agrees(`${name} of ${dtype}`, (x) => f(x, 0), [random(shape, dtype)]);
    }
  }
});

test('empty axes and NaN', { skip }, () => {
  for (const shape of [[0], [0, 3], [3, 0], [2, 0, 2]]) {
    for (const f of [REDUCTIONS.sum, REDUCTIONS.mean, REDUCTIONS.prod]) for (const axis of [0, -1]) agrees('empty', (x) => f(x, axis), [random(shape)]);
  }
  const odd = data([1, NaN, 3, Infinity, -Infinity, 2, NaN, NaN, 0], [3, 3]);
  for (const f of Object.values(REDUCTIONS)) for (const axis of [0, 1]) agrees('NaN', (x) => f(x, axis), [odd]);
  for (const f of [tf.argMax, tf.argMin] as Reduce[]) for (const axis of [0, 1]) agrees('argMax with NaN', (x) => f(x, axis), [odd]);
});

test('all, any, argMax, argMin, cumsum and cumprod', { skip }, () => {
  for (const [shape, axes] of CASES) for (const axis of axes) {
    if (shape.length === 0) continue;
    for (const f of [tf.all, tf.any] as Reduce[]) agrees('all or any', (x) => f(x, axis), [random(shape, 'bool')]);
    if (typeof axis !== 'number') continue;
    for (const f of [tf.argMax, tf.argMin] as Reduce[]) for (const dtype of ['float32', 'int32'] as const) agrees('argMax', (x) => f(x, axis), [random(shape, dtype)]);
    for (const exclusive of [false, true]) for (const reverse of [false, true]) {
      if (axis < 0) continue; // the JavaScript backend loses the shape
      agrees('cumsum', (x) => tf.cumsum(x, axis, exclusive, reverse), [random(shape)]);
      agrees('cumprod', (x) => tf.cumprod(x, axis, exclusive, reverse), [random(shape)]);
    }
  }
});

test('gradients of sum and mean', { skip }, () => {
  for (const f of [tf.sum, tf.mean] as Reduce[]) for (const [shape, axes] of CASES) for (const axis of axes) for (const keep of [false, true]) {
    agrees('gradient', (x) => tf.grad((t: tf.Tensor) => tf.sum(tf.square(f(t, axis, keep))))(x), [random(shape)], { tolerance: 4e-6 });
    gradientHolds('reduction', (t) => f(t, axis, keep), [random(shape)]);
  }
});

test('sums of many numbers are exact to float32 and the same for every number of threads', { skip }, () => {
  tf.setBackend(BACKEND);
  const n = 300_000;
  const values = Float32Array.from({ length: n }, (_, i) => 0.1 + (i % 7) * 1e-3);
  const exact = values.reduce((a, b) => a + b, 0); // in doubles
  for (const [shape, axis] of [[[n], 0], [[n / 4, 4], 0], [[n / 300, 300], 1], [[n / 300, 300], 0]] as [number[], number][]) {
    const results = [1, 2, 3].map((threads) => {
      native()!.threads(threads);
      return tf.tidy(() => tf.sum(tf.tensor(values, shape), axis).dataSync());
    });
    native()!.threads(2);
    assert.deepEqual(results[1], results[0]);
    assert.deepEqual(results[2], results[0]);
    const total = [...results[0]].reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(total - exact) < 1e-7 * exact * 2, `${shape} over ${axis}: ${total}, not ${exact}`);
  }
});
