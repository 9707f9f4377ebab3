import assert from 'node:assert/strict';
import { test } from 'node:test';
import { affinities, laplacian } from '../../src/tta/lame.js';
import { maxDifference } from '../models/golden.js';

const p = [[0.6, 0.4], [0.4, 0.6]];

test('without affinities the probabilities stay; two points that bind each other stay mirror images', () => {
  laplacian(p, [[0, 0], [0, 0]]).forEach((row, i) => assert.ok(maxDifference(row, p[i]) < 1e-6));
  const [a, b] = laplacian(p, [[0, 1], [1, 0]]);
  assert.ok(Math.abs(a[0] - b[1]) < 1e-9 && Math.abs(a[1] - b[0]) < 1e-9);
});

test('an unsure image follows its sure neighbours', () => {
  const Y = laplacian([[0.95, 0.05], [0.9, 0.1], [0.45, 0.55]], [[0, 1, 1], [1, 0, 1], [1, 1, 0]]);
  assert.ok(Y.every(([first]) => first > 0.8));
});

test('it goes on until the energy has settled: what comes out is a fixed point', () => {
  const p = [[0.5, 0.3, 0.2], [0.4, 0.5, 0.1], [0.3, 0.3, 0.4], [0.2, 0.7, 0.1]], W = [[0, 1, 0.5, 0], [1, 0, 0.2, 0.3], [0.5, 0.2, 0, 0.6], [0, 0.3, 0.6, 0]];
  const Y = laplacian(p, W), again = Y.map((_, i) => p[i].map((q, c) => q * Math.exp(Y.reduce((s, row, j) => s + W[i][j] * row[c], 0))));
  Y.forEach((row, i) => assert.ok(maxDifference(row, again[i].map((v) => v / again[i].reduce((a, b) => a + b))) < 1e-4));
});

test('affinities: the nearest others, a Gaussian as wide as the mean distance to the K-th, oneself the first, or the cosine', () => {
  const f = [[1, 0], [0.8, 0.6], [0, 1]];
  assert.deepEqual(affinities(f, 'knn', 1), [[0, 1, 0], [1, 0, 0], [0, 1, 0]]);
  assert.deepEqual(affinities(f, 'knn', 5), [[0, 1, 1], [1, 0, 1], [1, 1, 0]]);
  assert.deepEqual(affinities([[1, 0], [1, 0]], 'knn', 1), [[0, 1], [1, 0]]);
  affinities(f, 'linear', 1).forEach((row, i) => assert.ok(maxDifference(row, [[1, 0.8, 0], [0.8, 1, 0.6], [0, 0.6, 1]][i]) < 1e-12));
  // Squared distances .4 and .8 of neighbours, 2 of the ends; to the nearest other: √.4, √.4 and √.8.
  const sigma = (2 * Math.sqrt(0.4) + Math.sqrt(0.8)) / 3, gauss = [0.4, 2].map((square) => Math.exp(-square / (2 * sigma * sigma)));
  assert.ok(maxDifference(affinities(f, 'rbf', 2)[0], [1, ...gauss]) < 1e-9);
});
