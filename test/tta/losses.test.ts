import { scoped, tf, useBackend, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { classCorrelation } from '../../src/tta/core.js';
import { entropy, marginalEntropy, weightedMean } from '../../src/tta/losses.js';
import { informationLoss } from '../../src/tta/shot.js';
import { ascend } from '../../src/tta/sharpness.js';
import { maxDifference } from '../models/golden.js';

before(() => useBackend('auto'));

const value = (f: () => Tensor): number => tf.tidy(() => f().dataSync()[0]);
const near = (actual: number, expected: number, tolerance = 1e-5): void => assert.ok(Math.abs(actual - expected) < tolerance, `${actual}, not ${expected}`);
const logs = (p: number[][]): Tensor2D => tf.log(tf.tensor2d(p));

test('marginal entropy of the views (.9, .1) and (.1, .9) is ln 2, though their mean entropy is .325083', () => {
  const views = [[0.9, 0.1], [0.1, 0.9]];
  near(value(() => marginalEntropy(logs(views))), Math.LN2);
  near(value(() => tf.mean(entropy(logs(views)))), 0.325083);
});

test('a weighted mean divides by the rows that count; none gives 0 and a gradient of 0', () => {
  const rows = (): Tensor1D => tf.tensor1d([1, 2, 4]);
  near(value(() => weightedMean(rows(), [2, 0, 1])), 3);
  near(value(() => weightedMean(rows(), [0, 0, 0])), 0);
  near(value(() => tf.sum(tf.grad((v: Tensor) => weightedMean(v as Tensor1D, [0, 0, 0]))(rows()))), 0);
});

test('information maximisation is least, -ln C, for sure and balanced predictions', () => {
  near(value(() => informationLoss(tf.mul(tf.eye(3), 100) as Tensor2D)), -Math.log(3), 1e-4);
  for (const z of [[[100, 0, 0], [100, 0, 0]], [[0, 0, 0], [0, 0, 0]]]) near(value(() => informationLoss(tf.tensor2d(z))), 0, 1e-4);
});

test('class correlation: 0 for distinct classes, ½ for P all ½, the same whatever the classes are called; an absent class is no reward', () => {
  near(value(() => classCorrelation(tf.eye(2) as Tensor2D)), 0);
  near(value(() => classCorrelation(tf.fill([3, 2], 0.5) as Tensor2D)), 0.5);
  const P = [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]];
  near(value(() => classCorrelation(tf.tensor2d(P))), value(() => classCorrelation(tf.tensor2d(P.map(([a, b, c]) => [c, a, b])))));
  near(value(() => classCorrelation(tf.tensor2d([[1, 0], [1, 0]]))), 0.25);
  assert.ok(tf.tidy(() => tf.grad((t: Tensor) => classCorrelation(t as Tensor2D))(tf.tensor2d([[1, 0], [1, 0]])).dataSync().every(Number.isFinite)));
});

test('up the loss ½ k ‖θ‖² the gradient is k (1 + ρ/‖θ‖) θ, and the way back ends where it began', () => {
  const k = 3, rho = 0.05, start = [0.6, -0.8, 2.4];
  const params = new Map([['a', tf.variable(tf.tensor1d(start.slice(0, 2)))], ['b', tf.variable(tf.tensor1d(start.slice(2)))]]);
  const grads = (): Map<string, Tensor> => new Map([...params].map(([n, p]) => [n, tf.mul(p, k)]));
  const back = scoped(() => ascend(params, grads(), rho));
  const norm = Math.hypot(...start), at = tf.tidy(() => [...grads().values()].flatMap((g) => [...g.dataSync()]));
  assert.ok(maxDifference(at, start.map((v) => k * (1 + rho / norm) * v)) < 1e-5);
  back();
  assert.deepEqual([...params.values()].flatMap((p) => [...p.dataSync()]), [...Float32Array.from(start)]);
  tf.dispose([...params.values()]);
});
