import assert from 'node:assert/strict';
import { test } from 'node:test';
import { native } from '../src/native.js';
import { reference, weightedSum } from '../src/weighted-sum.js';
import { random, skip } from './against.js';

test('weighted sums are those of the reference, byte for byte', { skip }, () => {
  for (const [n, count] of [[0, 1], [1, 1], [513, 2], [20000, 5]]) {
    const arrays = Array.from({ length: count }, (_, i) => Float32Array.from(random([n + i]).values).subarray(i)), weights = random([count]).values;
    assert.deepEqual(weightedSum(arrays, weights, 0.7), reference(arrays, weights, 0.7, new Float32Array(n)));
  }
});

test('arrays and weights that do not fit are refused', { skip }, () => {
  assert.throws(() => weightedSum([new Float32Array(3), new Float32Array(4)], [1, 1]), /weighted sum: arrays of 16 and 12 bytes/);
  assert.throws(() => native()!.weightedSum(new Float32Array(3), new Float64Array(1), 1, new Float32Array(3), new Float32Array(3)), /8 bytes of weights for 2 arrays/);
});
