import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng, svd } from '@graft/kernels';
import { IncrementalPca } from '../../src/init/ipca.js';
import { redistribute } from '../../src/init/eva.js';

const D = 12;

/** n rows of dimension D whose variance falls from one direction to the next, around a mean that is not zero. */
function rows(n: number, seed: number): Float64Array {
  const rng = new Rng('rows', seed);
  return Float64Array.from({ length: n * D }, (_, i) => 3 + Math.exp(-(i % D) / 4) * rng.normal() + 0.3 * rng.normal() * (i % 3));
}

function centred(X: Float64Array): Float64Array {
  const n = X.length / D;
  return X.map((v, i) => v - X.reduce((sum, w, j) => (j % D === i % D ? sum + w / n : sum), 0));
}

const worst = (a: Float64Array, b: Float64Array): number => a.reduce((w, v, i) => Math.max(w, Math.abs(v - b[i])), 0);

test('six batches of any size give the decomposition of the whole', () => {
  const sizes = [20, 13, 40, 12, 25, 31];
  const batches = sizes.map((n, i) => rows(n, i));
  const whole = centred(Float64Array.from(batches.flatMap((b) => [...b])));
  const pca = new IncrementalPca(D, D);
  for (const b of batches) pca.update(b);
  const exact = svd(whole, whole.length / D, D);
  assert.equal(pca.n, 141);
  assert.ok(worst(pca.singularValues, exact.S) < 1e-8);
  assert.ok(worst(pca.components, exact.Vt) < 1e-8);
  const total = whole.reduce((sum, v) => sum + v * v, 0);
  assert.ok(worst(pca.explainedVarianceRatio, exact.S.map((s) => (s * s) / total)) < 1e-10);
  assert.ok(Math.abs(pca.explainedVarianceRatio.reduce((a, b) => a + b) - 1) < 1e-10);
});

test('with fewer components the rows stay orthonormal and the variance shares refer to the whole', () => {
  const pca = new IncrementalPca(D, 3);
  for (let i = 0; i < 5; i++) pca.update(rows(30, i));
  const V = pca.components;
  for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) {
    let dot = 0;
    for (let c = 0; c < D; c++) dot += V[i * D + c] * V[j * D + c];
    assert.ok(Math.abs(dot - (i === j ? 1 : 0)) < 1e-10);
  }
  const sum = pca.explainedVarianceRatio.reduce((a, b) => a + b);
  assert.ok(sum > 0.3 && sum < 1);
});

test('ranks go where the variance is', () => {
  const share = (r: number, k: number): object => Object.fromEntries(redistribute([
    { name: 'q', r, ratios: [0.70, 0.10, 0.05, 0.02].slice(0, k) }, { name: 'up', r, ratios: [0.30, 0.25, 0.20, 0.10].slice(0, k) },
  ]));
  assert.deepEqual(share(2, 4), { q: 1, up: 3 });
  assert.deepEqual(share(2, 2), { q: 2, up: 2 }, 'ρ = 1 leaves every rank');
});

test('of sites that read the same the first takes what is left over', () => {
  const ratios = [0.5, 0.3];
  assert.deepEqual(Object.fromEntries(redistribute([{ name: 'q', r: 1, ratios }, { name: 'k', r: 1, ratios }, { name: 'v', r: 1, ratios: [0.1, 0.01] }])), { q: 2, k: 1, v: 0 });
});
