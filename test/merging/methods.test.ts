import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Rng } from '@graft/kernels';
import { mergingMethod, MERGING } from '../../src/merging/registry.js';
import { drop } from '../../src/merging/task-vectors.js';

const base = Float32Array.of(1, 1, 1, 1);
const taus = [[1, -0.2, 0.5, 0.05], [-0.4, 0.6, 0.3, -0.02]];
const models = taus.map((tau) => base.map((v, j) => v + tau[j]));

function delta(method: string, weights: number[], config: Record<string, unknown>): number[] {
  const merged = mergingMethod(method).merge({ name: 'w', base, models, weights }, { lambda: 1, ...config });
  return [...merged].map((v, j) => v - base[j]);
}

function close(actual: ArrayLike<number>, expected: number[], tolerance = 1e-6): void {
  assert.equal(actual.length, expected.length);
  expected.forEach((e, i) => assert.ok(Math.abs(actual[i] - e) <= tolerance, `${i}: ${actual[i]} for ${e}`));
}

test('ties trims, elects signs and averages what agrees', () => {
  close(delta('ties', [1, 1], { density: 0.5, normalize: true }), [1, 0.6, 0.5, 0]);
  close(delta('ties', [1, 0.5], { density: 1, normalize: true }), [1, 0.6, 0.433333, 0.05]);
  close(delta('ties', [1, 0.5], { density: 1, normalize: false }), [1, 0.3, 0.65, 0.05]);
});

test('task arithmetic adds weighted task vectors', () => {
  close(delta('task-arithmetic', [1, 0.5], { lambda: 0.5, normalize: false }), [0.4, 0.05, 0.325, 0.02]);
  close(delta('task-arithmetic', [1, 0.5], { normalize: true }), [0.533333, 0.066667, 0.433333, 0.026667]);
});

test('slerp follows the arc and returns its ends', () => {
  const ends = { name: 'w', base: null, models: [Float32Array.of(1, 0), Float32Array.of(0, 2)], weights: [1, 1] };
  close(mergingMethod('slerp').merge(ends, { t: 0.5 }), [0.707107, 1.414214]);
  close(mergingMethod('slerp').merge(ends, { t: 0 }), [1, 0]);
  close(mergingMethod('slerp').merge(ends, { t: 1 }), [0, 2]);
});

test('linear does not mind the order of the models', () => {
  const merge = (m: Float32Array[], weights: number[]): Float32Array => mergingMethod('linear').merge({ name: 'w', base: null, models: m, weights }, { normalize: true });
  assert.deepEqual(merge(models, [1, 3]), merge([...models].reverse(), [3, 1]));
});

test('dare keeps the expectation, and its mask is the seed’s', () => {
  const n = 20000;
  const t = { name: 'w', base: new Float32Array(n), models: [new Float32Array(n).fill(1)], weights: [1] };
  const run = (seed: number): Float32Array => mergingMethod('dare-linear').merge(t, { density: 0.25, lambda: 1, normalize: false, seed });
  const merged = run(0);
  assert.deepEqual([...new Set(merged)].sort(), [0, 4]);
  assert.ok(Math.abs(merged.reduce((a, b) => a + b) / n - 1) < 0.05);
  assert.deepEqual(run(0), merged);
  assert.notDeepEqual(run(1), merged);
});

test('what is dropped is made up for by the probability (DARE), by the norm (mergekit), or not', () => {
  const kept = (): Rng => ({ uniform: ((mask) => () => 1 - mask.shift()!)([1, 0, 1, 0]) }) as unknown as Rng;
  const delta = Float32Array.of(3, -1, 2, -2);
  close(drop(delta.slice(), 0.5, 'probability', kept()), [6, 0, 4, 0]);
  close(drop(delta.slice(), 0.5, 'norm', kept()), [4.8, 0, 3.2, 0]);
  close(drop(delta.slice(), 0.5, 'none', kept()), [3, 0, 2, 0]);
});

test('merging models equal to the base changes nothing', () => {
  for (const { name } of MERGING.filter((m) => !m.grafts)) {
    const merged = mergingMethod(name).merge({ name: 'w', base, models: [base, base], weights: [1, 1] }, { density: 0.5, lambda: 1, normalize: true, t: 0.3, seed: 0 });
    close(merged, [...base]);
  }
});
