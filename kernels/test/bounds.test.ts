import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { attention, conv2d, crossEntropy, embedding, rotary, tf } from '../src/index.js';
import { type GraftBackend } from '../src/backend.js';
import { native, type Native, type NativeArgument } from '../src/native.js';
import { skip, start } from './against.js';

before(start);

const ints = (...values: number[]): tf.Tensor1D => tf.tensor1d(values, 'int32');

test('an index outside its axis is an error, and no memory is read', { skip }, () => {
  const table = tf.zeros([3, 4]) as tf.Tensor2D;
  for (const id of [3, -1, 2147483647, -2147483648]) {
    assert.throws(() => embedding(table, ints(0, id)), new RegExp(`the index value ${id} is not in \\[0, 2\\]`));
    assert.throws(() => tf.gather(table, ints(id), 1 - Number(id < 4)), /is not in \[0, [23]\]/);
    assert.throws(() => tf.gatherND(table, tf.tensor2d([[id]], [1, 1], 'int32')), /does not index into 3,4/);
    assert.throws(() => tf.scatterND(tf.tensor2d([[id]], [1, 1], 'int32'), tf.zeros([1, 4]), [3, 4]), /does not index into 3,4/);
    assert.throws(() => crossEntropy(tf.zeros([2, 3]), ints(1, id)), new RegExp(`label ${id} of row 1 is not in \\[0, 3\\)`));
    assert.deepEqual([...tf.oneHot(ints(id), 3).dataSync()], [0, 0, 0]);
    if (id >= 0) assert.deepEqual([...tf.unsortedSegmentSum(tf.ones([1, 2]), ints(id), 2).dataSync()], [0, 0, 0, 0]);
  }
});

test('shapes that do not fit are errors', { skip }, () => {
  const image = tf.zeros([1, 4, 4, 2]) as tf.Tensor4D;
  assert.throws(() => conv2d(image, tf.zeros([3, 2, 5, 5])), /conv2d: the filter \[3,2,5,5\] is larger than the input \[1,4,4,2\]/);
  assert.throws(() => conv2d(image, tf.zeros([3, 1, 3, 3])), /conv2d: input \[1,4,4,2\] and filter \[3,1,3,3\] do not fit/);
  assert.throws(() => conv2d(image, tf.zeros([3, 2, 3, 3]), tf.zeros([2])), /holds 2 elements, not 3/);
  assert.throws(() => conv2d(image, tf.zeros([3, 2, 3, 3]), null, { stride: 0 }), /impossible stride 0/);
  const heads = (n: number, width = 4): tf.Tensor4D => tf.zeros([1, 2, n, width]);
  assert.throws(() => attention(heads(3), heads(2), heads(2)), /3 heads over 2 key heads/);
  assert.throws(() => attention(heads(2), heads(2, 3), heads(2)), /holds 12 elements, not 16/);
  assert.throws(() => attention(heads(2), heads(2), heads(2), { keyMask: tf.ones([1, 1]) }), /holds 1 elements, not 2/);
  assert.throws(() => rotary(heads(2), tf.zeros([1, 4]), tf.zeros([1, 4])), /holds 4 elements, not 8/);
});

test('the addon checks what TypeScript hands it', { skip }, () => {
  tf.setBackend('graft-cpu');
  const { native: addon } = tf.backend() as GraftBackend;
  const make = (count: number, storage = 0): number => addon.create(count, storage);
  const [two, six, ids, out] = [make(2), make(6), make(2, 1), make(6)];
  addon.upload(ids, Int32Array.of(0, 1));
  const refused: [keyof Native, NativeArgument[], RegExp][] = [
    ['create', [-1, 0], /cannot hold -1/], ['create', [2 ** 53, 0], /memory/], ['create', [NaN, 0], /not an integer/], ['create', [1, 7], /no storage 7/],
    ['count', [1e9], /no buffer/], ['count', [2 ** 32 + two], /no buffer/], ['count', [0.5], /not an integer/],
    ['softmax', [six, out, 0], /no rows of 0/], ['softmax', [six, out, 4], /no rows of 4/],
    ['binary', [0, two, six, out, [6], [6]], /shapes do not fit/], ['binary', [0, two, six, out], /sizes 2 and 6/], ['binary', [0, six, two, out, [3, 2], [-1, -2]], /impossible/],
    ['addN', [[six, two], out], /differ in size/], ['addN', [[], out], /no terms/],
    ['gather', [six, ids, out, 1, 2 ** 32, 2 ** 32, 1, 2], /does not fit/], ['gather', [six, ids, out, -1, -3, 2, 1, 2], /impossible/],
    ['gatherNd', [six, ids, out, [1, 1], 1, 6, '6'], /another number of indices/], ['scatterNd', [six, ids, out, [1], 1, 2, '6'], /do not fit/],
    ['topK', [six, out, ids, 3, 4], /4 of 3/], ['reduce', [9, six, two, 2, 3, 1, 1], /no reduction/], ['reduce', [0, six, two, -2, -3, 1, 1], /impossible/],
    ['copy', [six, 0, [1], out, 0, [1], [7]], /out of bounds/], ['copy', [six, 0, [2 ** 52], out, 0, [1], [2 ** 52]], /out of bounds/], ['copy', [six, 0, [1], out, 0, [1], [-1]], /impossible/],
    ['resize', [make(0), out, 1, 0, 0, 1, 6, 1, false, false, false], /without pixels/],
    ['convForward', [six, six, null, out, [1, 1, 6, 1, 1, 1, -1, -6, 1, 1, 1, 0, 0, 1, 1, 1, 0]], /impossible/],
    ['poolForward', [six, out, [1, 1, 6, 1, 1, 1, 1, 6, 0, 0, 0, 0, 1, 1], true], /impossible/],
    ['batchMatMul', [six, six, out, 2, 3, 1, false, false, [0, 3]], /beyond its operand/], ['product', [six, six, out, -2, -3, 1, false, false, 1, -1, -1, -1, -1], /impossible/],
    ['batchNormStatistics', [make(0), two, make(2)], /no rows/], ['rotary', [six, two, two, out, 0, 1, 2, false], /do not fit|not 0/],
    ['crossEntropyGrad', [two, six, ids, two, out, 1, -100, 0], /not 2|label 1/], ['select', [make(4, 2), six, six, out], /4 conditions/],
    ['doubleMatMul', [new Float64Array(1), false, new Float64Array(1), new Float64Array(1), 2, 1, 1, false], /shorter/],
    ['mapTensor', [0, 0, 1, 0], /closed/], ['upload', [six, new Float32Array(5)], /do not fit/],
  ];
  for (const [name, args, why] of refused) assert.throws(() => addon[name](...args), why, `${name}(${args.join()})`);
  assert.ok(native());
});

test('a frozen weight read under two shapes is packed for each', { skip }, async () => {
  const { mkdtempSync, rmSync, writeFileSync } = await import('node:fs');
  const { join } = await import('node:path');
  const { tmpdir } = await import('node:os');
  const { linear, openMapped } = await import('../src/index.js');
  const folder = mkdtempSync(join(tmpdir(), 'graft-'));
  try {
    const values = Float32Array.from({ length: 24 }, (_, i) => i);
    writeFileSync(join(folder, 'w'), values);
    const file = openMapped(join(folder, 'w'));
    const W = file.tensor(0, [4, 6], 'F32');
    for (const [out, width] of [[4, 6], [8, 3], [4, 6], [2, 12]]) {
      const x = tf.ones([2, width]);
      const y = linear(x, tf.reshape(W, [out, width]) as tf.Tensor2D).dataSync();
      assert.deepEqual([...y].slice(0, out), Array.from({ length: out }, (_, o) => values.subarray(o * width, (o + 1) * width).reduce((a, b) => a + b, 0)));
    }
    file.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
