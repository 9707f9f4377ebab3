import { Rng, scoped, tf, useBackend, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ReservoirMemory, TimelyMemory, type Memory } from '../../src/tta/memory.js';

before(() => useBackend('auto'));

/** Offers images of one pixel, each as bright as its number. */
function feed(memory: Memory, labels: readonly number[], uncertainty = (_: number): number => 0): void {
  scoped(() => labels.forEach((label, n) => memory.offer(tf.fill([1, 1, 1, 3], n) as Tensor4D, new Float32Array(3).fill(n), 0, label, uncertainty(n))));
}
const counts = (memory: Memory, classes: number): number[] => Array.from({ length: classes }, (_, k) => memory.items.filter((i) => i.class === k).length);
const stream = (n: number, classes: number): number[] => { const rng = new Rng('memory'); return Array.from({ length: n }, () => Math.min(rng.integer(classes), rng.integer(classes))); };

test('the timely memory never holds more than N, nor of one class more than ⌈N/C⌉ once full', () => {
  const memory = new TimelyMemory(10, 4), rng = new Rng('u');
  for (const label of stream(200, 4)) {
    feed(memory, [label], () => rng.uniform());
    assert.ok(memory.items.length <= 10 && Math.max(...counts(memory, 4)) <= 3);
  }
  assert.equal(memory.items.length, 10);
});

test('the timely memory: a full class gives up its oldest and least certain, and nothing for one that is worse', () => {
  const memory = new TimelyMemory(4, 2);
  feed(memory, [0, 0], (n) => [0.6, 0.1][n]);
  assert.deepEqual(memory.items.map((i) => i.age), [2, 1]);
  assert.ok(Math.abs(memory.score({ age: 2, uncertainty: 0.6 }) - (1 / (1 + Math.exp(-0.5)) + 0.6 / Math.LN2)) < 1e-12);
  feed(memory, [0], () => 0.69);
  assert.deepEqual(memory.items.map((i) => i.uncertainty), [0.6, 0.1]);
  feed(memory, [0], () => 0.2);
  assert.deepEqual(memory.items.map((i) => i.uncertainty), [0.1, 0.2]);
});

test('the reservoir fills up, then balances its classes and keeps early and late images of each alike', () => {
  const memory = new ReservoirMemory(40, 2, (n) => new Rng('reservoir', n));
  feed(memory, new Array<number>(400).fill(0));
  const numbers = memory.items.map((i) => i.pixels[0]), mean = numbers.reduce((a, b) => a + b) / numbers.length;
  assert.ok(mean > 130 && mean < 270, String(mean));
  feed(memory, new Array<number>(400).fill(1));
  assert.deepEqual(counts(memory, 2), [20, 20]);
});
