import { Rng, scoped, tf, type Tensor1D, type Tensor2D, type Tensor3D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { classAwareLoss, classGaussians, mahalanobis } from '../../src/tta/cafa.js';
import { BATCH } from '../../src/tta/statistics.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, step, tinyResnet, type Bench } from './support.js';

let at: Bench;
before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

const near = (found: number, expected: number, within = 1e-5): void => assert.ok(Math.abs(found - expected) <= within, `${found}, not ${expected}`);
/** D and the loss of one feature, μ_0 = (0, 0), Σ_0 = s²I, μ_1 = (4, 0)·s, Σ_1 = s² diag(4, 1). */
const loss = (f: number[], s = 1): number => scoped(() => {
  const D = mahalanobis(tf.tensor2d([f.map((v) => s * v)]), tf.tensor2d([[0, 0], [4 * s, 0]]), tf.tensor3d([[[1 / s, 0], [0, 1 / s]], [[0.5 / s, 0], [0, 1 / s]]]));
  return classAwareLoss(D, tf.tensor1d([0], 'int32')).dataSync()[0];
});

test('loss: ln(2/5.25) of the specification\'s example, whatever the scale; finite at a mean', () => {
  near(loss([1, 1]), Math.log(2 / 5.25));
  near(loss([1, 1], 2), Math.log(2 / 5.25));
  near(loss([0, 0]), Math.log(1e-12 / 4), 1e-3);
});

test('Gaussians: mean, and a whitening whose product with its transpose is the inverse of the covariance', () => {
  const rng = new Rng('cafa'), n = 40000;
  const cloud = Array.from({ length: n }, () => { const [a, b] = [rng.normal(), rng.normal()]; return [1 + 2 * a, 3 + a + b]; });
  const { mu, whiten } = classGaussians([cloud], 0);
  near(mu[0][0], 1, 0.05);
  near(mu[0][1], 3, 0.05);
  const [w] = whiten, product = [0, 1].map((i) => [0, 1].map((j) => w[2 * i] * w[2 * j] + w[2 * i + 1] * w[2 * j + 1]));
  // Σ = [[4, 2], [2, 2]]
  [[0.5, -0.5], [-0.5, 1]].forEach((row, i) => row.forEach((v, j) => near(product[i][j], v, 0.03)));
});

test('Gaussians: a class of fewer rows than dimensions takes ρ = d/(d + n) of the common covariance', () => {
  const wide = [[-3, 0], [3, 0], [0, -1], [0, 1]], single = [[5, 5]]; // Σ_0 = diag(4.5, 0.5), tied = diag(18, 2)/5
  const { mu, whiten } = classGaussians([wide, single], 0.01);
  assert.deepEqual(mu[1], [5, 5]);
  const rho = 2 / 3, variances = [...whiten[1]].filter((v) => Math.abs(v) > 1e-9).map((v) => 1 / v ** 2);
  [rho * 3.6 + 0.01, rho * 0.4 + 0.01].forEach((v, i) => near(variances[i], v, 1e-6));
});

test('the loss falls over steps on one batch; only γ and β move', async () => {
  const x = pixels(images(8, 3)), clean = [{ pixels: pixels(images(12, 4)), labels: tf.tensor1d(Array.from({ length: 12 }, (_, i) => i % 4), 'int32') }];
  const prepared = (await at.prepare('cafa', { epsilon: 0.1 }, clean))!;
  const a = await at.start('cafa', { lr: 0.01 }, { prepared });
  const frozen = at.source.parameters().map((n) => [...at.source.value(n).dataSync()]);
  const now = (): number => scoped(() => {
    const network = at.source.copy(at.source.affine(), BATCH);
    for (const [name, v] of network.own) v.assign(a.learnt().get(name)!);
    const { features, logits } = network.predict(x);
    const value = classAwareLoss(mahalanobis(features, prepared.get('mu') as Tensor2D, prepared.get('whiten') as Tensor3D), tf.argMax(logits, -1) as Tensor1D).dataSync()[0];
    network.dispose();
    return value;
  });
  const first = now();
  for (let i = 0; i < 10; i++) step(a, x);
  assert.ok(now() < first - 0.05, `${first} ${now()}`);
  assert.deepEqual([...a.learnt().keys()].sort(), at.source.affine().sort());
  assert.deepEqual(at.source.parameters().map((n) => [...at.source.value(n).dataSync()]), frozen);
  a.dispose();
});

test('a class without an image is refused', async () => {
  const clean = [{ pixels: pixels(images(3, 4)), labels: tf.tensor1d([0, 1, 3], 'int32') }];
  await assert.rejects(at.prepare('cafa', {}, clean), { status: 65, message: /holds no image of class c/ });
});
