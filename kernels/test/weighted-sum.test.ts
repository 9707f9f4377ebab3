import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { native } from '../src/native.js';
import { openMapped } from '../src/mapped.js';
import { reference, weightedSum, weightedSumStored } from '../src/weighted-sum.js';
import { BACKEND, random, skip, start } from './against.js';

before(start);

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

test('stored tensors are added up where they lie, of any float type, from any entry on', { skip }, () => {
  tf.setBackend(BACKEND);
  const folder = mkdtempSync(join(tmpdir(), 'graft-test-')), n = 3000, path = join(folder, 'values');
  const values = Float32Array.from(random([2 * n]).values), halves = new Uint16Array(n);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < n; i++) halves[i] = bits[i] >> 16;
  writeFileSync(path, Buffer.concat([Buffer.from(values.buffer), Buffer.from(halves.buffer)]));
  const file = openMapped(path);
  try {
    tf.tidy(() => {
      const tensors = [file.tensor(0, [n], 'F32'), file.tensor(4 * n, [n], 'F32'), file.tensor(8 * n, [n], 'BF16')], weights = [0.3, -1.7, 2];
      const arrays = tensors.map((t) => t.dataSync() as Float32Array);
      for (const [start, count] of [[0, n], [1, 700], [n - 5, 5]]) {
        assert.deepEqual(weightedSumStored(tensors, weights, 3, start, new Float32Array(count)), reference(arrays.map((a) => a.subarray(start, start + count)), weights, 3, new Float32Array(count)));
      }
      assert.throws(() => weightedSumStored(tensors, weights, 3, n - 4, new Float32Array(5)), /weighted sum: entries 2996 to 3001 of 3000/);
    });
  } finally {
    file.close();
    rmSync(folder, { recursive: true });
  }
});
