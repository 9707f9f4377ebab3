import { Rng, scoped, tf, type Tensor } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { anchored } from '../../src/tta/eata.js';
import { fisherRestore, quantile } from '../../src/tta/teacher.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, step, tinyResnet, type Bench } from './support.js';

let at: Bench;
const batches = [1, 2, 3].map((seed) => images(6, seed));

before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

test('the .3-quantile of 4, 1, 3, 2, 5 is 2.2, over one tensor or several; just what lies below goes back', () => {
  const of = (...parts: number[][]): number => quantile(parts.map((p) => Float32Array.from(p)), 0.3);
  assert.ok(Math.abs(of([4, 1, 3, 2, 5]) - 2.2) < 1e-12);
  assert.ok(Math.abs(of([4, 1], [3], [2, 5]) - 2.2) < 1e-12);
  const theta = new Map([['a', tf.variable(tf.tensor1d([9, 9, 9]))], ['b', tf.variable(tf.tensor1d([9, 9]))]]);
  const F = new Map([['a', tf.tensor1d([4, 1, 3])], ['b', tf.tensor1d([2, 5])]]);
  const theta0 = (n: string): Tensor => tf.zerosLike(theta.get(n)!);
  tf.tidy(() => fisherRestore(theta, theta0, F, 0.3));
  assert.deepEqual([...theta.values()].map((t) => [...t.dataSync()]), [[9, 0, 9], [0, 9]]);
  tf.dispose([...theta.values(), ...F.values()]);
});

test('the quantile is that of sorted values; at most ⌈δ n⌉ weights are restored', () => {
  const rng = new Rng('quantile', 1), values = Float32Array.from({ length: 1001 }, () => Math.fround(rng.normal() ** 2));
  const sorted = [...values].sort((a, b) => a - b);
  for (const q of [0, 0.03, 0.5, 0.9995, 1]) {
    const k = q * 1000, i = Math.floor(k), expected = sorted[i] + (k - i) * ((sorted[i + 1] ?? 0) - sorted[i]);
    assert.ok(Math.abs(quantile([values], q) - expected) < 1e-9, String(q));
  }
  const theta = tf.variable(tf.ones([1001])), F = tf.tensor1d(values);
  tf.tidy(() => fisherRestore(new Map([['a', theta]]), () => tf.zerosLike(theta), new Map([['a', F]]), 0.03));
  assert.equal(theta.dataSync().filter((v) => v === 0).length, Math.ceil(0.03 * 1000));
  tf.dispose([theta, F]);
});

test('half a weight of .04 variance that is .1 off costs .1249969, its gradient is 2.4999375; at the mean both are 0', () => {
  const source = { value: () => tf.tensor1d([0.5]) };
  const precision = tf.tensor1d([0.5 / 0.040001]);
  const at = (theta: number): number[] => tf.tidy(() => {
    const f = (t: Tensor): Tensor => anchored(source, new Map([['w', t]]), new Map([['w', precision]]));
    return [f, tf.grad(f)].map((g) => g(tf.tensor1d([theta])).dataSync()[0]);
  });
  assert.ok(maxDifference(at(0.6), [0.1249969, 2.4999375]) < 1e-5);
  assert.deepEqual(at(0.5), [0, 0]);
  precision.dispose();
});

test('with a weight of 0 and stochastic restoration it is CoTTA started from the mean, bit for bit', async () => {
  const source = batches.map((b) => ({ pixels: pixels(b), labels: tf.tensor1d([0, 1, 2, 3, 0, 1], 'int32') }));
  const prepared = (await at.prepare('petal', { swagEpochs: 2 }, source))!;
  const config = { lr: 0.01, pTh: 1.01, nAug: 2, alpha: 0.9 };
  const petal = await at.start('petal', { ...config, lambda: 0, restoration: 'stochastic', restore: 0.1 }, { prepared }), cotta = await at.start('cotta', { ...config, restore: 0.1 });
  // CoTTA's student and teacher are moved to the mean; its anchor is not asked for, as p_th is above 1.
  const moved = ([n, t]: [string, Tensor]): [string, Tensor] => [n, prepared.get(`mean.${n.replace(/^(student|teacher)\./, '')}`) ?? t];
  scoped(() => cotta.restore(new Map([...cotta.state()].map(moved))));
  const first = step(petal, source[0].pixels), theirs = step(cotta, source[0].pixels);
  assert.deepEqual(first, theirs);
  const fresh = await at.start('cotta', config);
  assert.ok(maxDifference(step(fresh, source[0].pixels), first) > 1e-4);
  [petal, cotta, fresh].forEach((a) => a.dispose());
  tf.dispose([...source.flatMap((b) => [b.pixels, b.labels]), ...prepared.values()]);
});

test('the source holds the weights: the larger its weight, the nearer they stay', async () => {
  const x = pixels(batches[0]), prepared = (await at.prepare('petal', {}, [{ pixels: x, labels: tf.tensor1d([0, 1, 2, 3, 0, 1], 'int32') }]))!;
  assert.ok([...prepared].every(([n, t]) => !n.startsWith('variance.') || t.dataSync().every((v) => v >= 0)));
  const distance = async (lambda: number): Promise<number> => {
    const a = await at.start('petal', { lr: 0.01, pTh: 0, alpha: 0.5, delta: 0, lambda }, { prepared });
    for (let i = 0; i < 4; i++) for (const b of batches) step(a, pixels(b));
    const d = [...a.learnt()].reduce((s, [n, t]) => s + tf.tidy(() => tf.sum(tf.squaredDifference(t, prepared.get(`mean.${n}`)!)).dataSync()[0]), 0);
    a.dispose();
    return d;
  };
  assert.ok(await distance(1e-2) < 0.5 * await distance(0));
});
