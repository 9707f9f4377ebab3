import assert from 'node:assert/strict';
import { test } from 'node:test';
import { batchCount, epochBatches, splitValidation, stepPosition } from '../../src/training/batches.js';

const lengths = Array.from({ length: 203 }, (_, i) => 1 + ((i * 37) % 50));
const sorted = (batches: number[][]): number[] => batches.flat().sort((a, b) => a - b);
const everyone = lengths.map((_, i) => i);

test('an epoch holds every row once, in an order of its own', () => {
  const o = { batchSize: 8, seed: 1 };
  const first = epochBatches(lengths, 0, o);
  assert.deepEqual(sorted(first), everyone);
  assert.equal(first.length, batchCount(lengths.length, o));
  assert.deepEqual(epochBatches(lengths, 0, o), first);
  assert.notDeepEqual(epochBatches(lengths, 1, o), first);
  assert.notDeepEqual(epochBatches(lengths, 0, { ...o, seed: 2 }), first);
});

test('batches by length waste less and hold the same rows', () => {
  const o = { batchSize: 8, seed: 1 };
  const padding = (batches: number[][]): number => batches.reduce((n, b) => n + Math.max(...b.map((i) => lengths[i])) * b.length - b.reduce((m, i) => m + lengths[i], 0), 0);
  const grouped = epochBatches(lengths, 0, { ...o, groupByLength: true });
  assert.deepEqual(sorted(grouped), everyone);
  assert.ok(padding(grouped) < padding(epochBatches(lengths, 0, o)) / 4);
});

test('without shuffling the order is that of the data; a partial batch may be dropped', () => {
  const o = { batchSize: 10, seed: 1, shuffle: false };
  assert.deepEqual(epochBatches(lengths, 5, o).flat(), everyone);
  assert.deepEqual(epochBatches(lengths, 5, { ...o, dropLast: true }).flat(), everyone.slice(0, 200));
  assert.equal(batchCount(203, { ...o, dropLast: true }), 20);
  assert.deepEqual(epochBatches([1, 1], 0, { ...o, dropLast: true }), [[0, 1]], 'all there is is not dropped');
});

test('steps take consecutive ranges of batches, the last of an epoch the rest', () => {
  const ranges = [0, 1, 2, 3].map((step) => stepPosition(step, 7, 3));
  assert.deepEqual(ranges, [{ epoch: 0, from: 0, to: 3 }, { epoch: 0, from: 3, to: 6 }, { epoch: 0, from: 6, to: 7 }, { epoch: 1, from: 0, to: 3 }]);
});

test('a validation share splits the rows in two', () => {
  const { train, valid } = splitValidation(50, 0.2, 3);
  assert.equal(valid.length, 10);
  assert.deepEqual([...train, ...valid].sort((a, b) => a - b), everyone.slice(0, 50));
  assert.deepEqual(splitValidation(2, 0.9, 0).train.length, 1);
});
