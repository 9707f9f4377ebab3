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

test('affinities: the nearest others, a Gaussian as wide as the mean distance to the K-th, or the cosine; none to oneself', () => {
  const f = [[1, 0], [0.8, 0.6], [0, 1]];
  assert.deepEqual(affinities(f, 'knn', 1), [[0, 1, 0], [1, 0, 0], [0, 1, 0]]);
  assert.deepEqual(affinities(f, 'knn', 5), [[0, 1, 1], [1, 0, 1], [1, 1, 0]]);
  affinities(f, 'linear', 1).forEach((row, i) => assert.ok(maxDifference(row, [[0, 0.8, 0], [0.8, 0, 0.6], [0, 0.6, 0]][i]) < 1e-12));
  // Squared distances .4 and .8 of neighbours, 2 of the ends; to the nearest other: √.4, √.4 and √.8.
  const sigma = (2 * Math.sqrt(0.4) + Math.sqrt(0.8)) / 3, gauss = [0.4, 2].map((square) => Math.exp(-square / (2 * sigma * sigma)));
  assert.ok(maxDifference(affinities(f, 'rbf', 1)[0], [0, ...gauss]) < 1e-9);
});
