import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { tf } from '../src/index.js';
import { agrees, BACKEND, data, random, skip, start, type Data } from './against.js';

before(start);

const TYPES: Data['dtype'][] = ['float32', 'int32', 'bool'];

test('transpose', { skip }, () => {
  const cases: [number[], number[]][] = [
    [[3], [0]], [[3, 5], [1, 0]], [[37, 70], [1, 0]], [[2, 3, 4], [0, 2, 1]], [[2, 3, 4], [2, 0, 1]], [[2, 3, 4], [2, 1, 0]], [[2, 17, 3, 8], [0, 2, 1, 3]],
    [[2, 33, 3, 40], [0, 2, 3, 1]], [[3, 1, 5], [1, 2, 0]], [[0, 4], [1, 0]], [[2, 3, 2, 2, 3], [4, 1, 3, 0, 2]], [[300, 130], [1, 0]], [[1, 1], [1, 0]],
  ];
  for (const [shape, perm] of cases) for (const dtype of TYPES) agrees(`transpose ${perm}`, (x) => tf.transpose(x, perm), [random(shape, dtype)]);
  agrees('scalar', (x) => tf.transpose(x), [random([])]);
});

test('slice, strided slice, split and unstack', { skip }, () => {
  for (const dtype of TYPES) {
    const x = random([5, 4, 7], dtype);
    for (const [begin, size] of [[[1, 0, 2], [3, 4, 4]], [[0, 0, 0], [5, 4, 7]], [[4, 3, 6], [1, 1, 1]], [[2, 0, 0], [0, 4, 7]], [[1], [2]], [[1, 2], [-1, 1]]]) {
      agrees('slice', (t) => tf.slice(t, begin, size), [x]);
    }
    agrees('split', (t) => tf.split(t, [2, 0, 5], 2), [x]);
    agrees('split', (t) => tf.split(t, 2, 1), [x]);
    for (const axis of [0, 1, -1]) agrees('unstack', (t) => tf.unstack(t, axis), [x]);
    for (const [begin, end, strides] of [[[0, 0, 0], [5, 4, 7], [2, 1, 3]], [[4, 3, 6], [0, 0, 0], [-1, -2, -3]], [[1, 1, 1], [3, 4, 2], [1, 1, 1]], [[3, 0, 0], [3, 4, 7], [1, 1, 1]]]) {
      agrees('stridedSlice', (t) => tf.stridedSlice(t, begin, end, strides), [x]);
    }
    agrees('stridedSlice, masked', (t) => tf.stridedSlice(t, [1, 0, 1], [2, 3, 2], [1, 2, 1], 2, 2), [x]);
    agrees('stridedSlice, new axis', (t) => tf.stridedSlice(t, [0, 1, 0, 0], [0, 4, 4, 7], [1, 2, 1, 1], 0, 0, 0, 1), [x]);
  }
  tf.setBackend(BACKEND); // the JavaScript backend reads beside axes that shrink
  assert.deepEqual([...tf.stridedSlice(tf.reshape(tf.range(0, 140), [5, 4, 7]), [1, 0, 1], [2, 3, 2], [1, 2, 1], 2, 2, 0, 0, 5).dataSync()], [29, 43]);
  agrees('slice of a vector', (t) => tf.slice(t, [3], [4]), [random([9])]);
});

test('concat, stack, tile and reverse', { skip }, () => {
  for (const dtype of TYPES) {
    for (const axis of [0, 1, -1]) {
      const parts = [[2, 3, 4], [2, 3, 4], [2, 3, 4]].map((shape, k) => ({ ...random(shape, dtype, k + 1), shape: shape.slice() }));
      agrees('concat', (...t) => tf.concat(t, axis), parts);
      agrees('stack', (...t) => tf.stack(t, axis), parts);
    }
    agrees('concat, one empty', (...t) => tf.concat(t, 1), [random([2, 3], dtype), random([2, 0], dtype), random([2, 1], dtype)]);
    agrees('concat of one', (...t) => tf.concat(t, 0), [random([2, 3], dtype)]);
    for (const [shape, reps] of [[[3], [4]], [[2, 3], [2, 3]], [[2, 1, 3], [1, 4, 2]], [[2, 3], [1, 1]], [[2, 3], [0, 2]]]) agrees('tile', (x) => tf.tile(x, reps), [random(shape, dtype)]);
    for (const axes of [0, 1, [0, 2], [-1], [0, 1, 2]]) agrees('reverse', (x) => tf.reverse(x, axes), [random([2, 5, 3], dtype)]);
  }
  agrees('reverse scalar', (x) => tf.reverse(x), [random([])]);
  agrees('stack of scalars', (...t) => tf.stack(t), [random([]), random([], 'float32', 2)]);
});

test('pad and mirrorPad', { skip }, () => {
  for (const dtype of TYPES) {
    agrees('pad', (x) => tf.pad(x, [[1, 2]], 1), [random([5], dtype)]);
    agrees('pad', (x) => tf.pad(x, [[0, 0], [2, 0], [1, 3]]), [random([2, 3, 4], dtype)]);
    agrees('pad', (x) => tf.pad(x, [[1, 1], [0, 0]], 1), [random([0, 3], dtype)]);
    for (const mode of ['reflect', 'symmetric'] as const) {
      agrees(mode, (x) => tf.mirrorPad(x, [[1, 2]], mode), [random([5], dtype)]);
      agrees(mode, (x) => tf.mirrorPad(x, [[1, 1], [2, 0], [0, 3]], mode), [random([3, 3, 4], dtype)]);
    }
  }
  agrees('pad an image', (x) => tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), [random([2, 8, 8, 3])]);
});

test('gather, gatherND, scatterND, unsortedSegmentSum, oneHot and topk', { skip }, () => {
  const ids = data([2, 0, 1, 2], [4], 'int32'), pairs = data([1, 2, 0, 0, 1, 2], [3, 2], 'int32');
  for (const dtype of TYPES) {
    const x = random([3, 4, 5], dtype);
    for (const axis of [0, 1, 2, -1]) agrees('gather', (t, i) => tf.gather(t, i as tf.Tensor1D, axis), [x, ids]);
    agrees('gather 2-D', (t, i) => tf.gather(t, i as tf.Tensor2D), [x, data([0, 2, 1, 1], [2, 2], 'int32')]);
    agrees('gather, batched', (t, i) => tf.gather(t, i as tf.Tensor2D, 1, 1), [x, data([0, 3, 1, 1, 2, 2], [3, 2], 'int32')]);
    agrees('gather nothing', (t, i) => tf.gather(t, i as tf.Tensor1D), [x, data([], [0], 'int32')]);
    agrees('gatherND', (t, i) => tf.gatherND(t, i), [x, pairs]);
    if (dtype !== 'bool') agrees('scatterND', (i, u) => tf.scatterND(i, u, [3, 4, 5]), [pairs, random([3, 5], dtype)]);
  }
  agrees('scatterND of numbers', (i, u) => tf.scatterND(i, u, [6]), [data([4, 1, 4], [3, 1], 'int32'), random([3])]);
  for (const inner of [[], [7], [3, 40]]) {
    agrees('unsortedSegmentSum', (x, i) => tf.unsortedSegmentSum(x, i as tf.Tensor1D, 4), [random([6, ...inner]), data([3, 0, 3, 9, -1, 1], [6], 'int32')]);
  }
  for (const [a, b, step] of [[0, 5], [5, 0], [0, 1, 0.1], [3, 3], [0, 9, 4], [0, 5, -1]]) agrees('range', () => tf.range(a, b, step), []);
  agrees('range', () => tf.range(0, 5, 1, 'int32'), []);
  agrees('oneHot', (i) => tf.oneHot(i, 4), [data([1, 3, -1, 7, 0, 0], [2, 3], 'int32')]);
  agrees('oneHot float', (i) => tf.oneHot(i, 4, 0.9, 0.1, 'float32'), [data([1, 3, -1], [3], 'int32')]);
  for (const dtype of ['float32', 'int32'] as const) for (const k of [0, 1, 3, 9]) {
    agrees('topk', (x) => { const { values, indices } = tf.topk(x, k); return [values, indices]; }, [random([3, 9], dtype)]);
  }
  tf.setBackend(BACKEND);
  assert.throws(() => tf.gather(tf.zeros([3, 2]), tf.tensor1d([3], 'int32')), /index value 3 is not in \[0, 2\]/);
  assert.throws(() => tf.gatherND(tf.zeros([3, 2]), tf.tensor2d([3, 0], [1, 2], 'int32')), /Invalid indices: 3,0 does not index into 3,2/);
});

test('resizing images', { skip }, () => {
  const x = random([2, 5, 6, 3]);
  for (const size of [[3, 4], [9, 13], [5, 6], [1, 1]] as [number, number][]) {
    for (const [align, half] of [[false, false], [true, false], [false, true]]) {
      agrees('bilinear', (t) => tf.image.resizeBilinear(t as tf.Tensor4D, size, align, half), [x]);
      agrees('nearest', (t) => tf.image.resizeNearestNeighbor(t as tf.Tensor4D, size, align, half), [x]);
    }
    for (const align of [false, true]) {
      const loss = (f: typeof tf.image.resizeBilinear) => (t: tf.Tensor): tf.Tensor => tf.grad((u: tf.Tensor) => tf.sum(tf.square(f(u as tf.Tensor4D, size, align))))(t);
      agrees('gradient of bilinear', loss(tf.image.resizeBilinear), [random([1, 6, 6, 3])]);
      agrees('gradient of nearest', loss(tf.image.resizeNearestNeighbor as typeof tf.image.resizeBilinear), [random([1, 6, 6, 3])]);
    }
  }
});
