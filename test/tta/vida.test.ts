import { Rng, scoped, tf, type Tensor } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Adaptation } from '../../src/tta/method.js';
import type { Network } from '../../src/tta/network.js';
import { overAugmentations } from '../../src/tta/pseudo-target.js';
import { BATCH } from '../../src/tta/statistics.js';
import { allotment, vidaSites } from '../../src/tta/vida-adapters.js';
import { maxDifference, ROOT } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, sourceImages, step, tinyResnet, type Bench } from './support.js';

let at: Bench;
before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

const stream = [1, 2, 3].map((seed) => images(6, seed));
const CONFIG = { low: 1, high: 4, nAug: 2, lr: 0.01, vidaLr: 0.01, vidaAlpha: 0.5, alpha: 0.5, restore: 0 };
const run = (a: Adaptation): Float32Array[] => stream.map((b) => step(a, pixels(b)));
const values = (a: Adaptation, pattern: RegExp): Map<string, number[]> =>
  scoped(() => new Map([...a.state()].filter(([n]) => pattern.test(n)).map(([n, t]) => [n, [...t.dataSync()]])));

test('allotment: the high-rank adapter counts more from the threshold on, both alike where nothing is uncertain', () => {
  const near = (u: number, low: number, high: number): void => {
    const found = allotment(u, 0.05);
    assert.ok(Math.abs(found.low - low) < 1e-9 && Math.abs(found.high - high) < 1e-9, `${u}: ${JSON.stringify(found)}`);
  };
  near(0.03, 1.03, 0.97);
  near(0.08, 0.92, 1.08);
  near(0.05, 0.95, 1.05);
  near(0, 1, 1);
});

test('uncertainty: the variance over augmentations is unbiased, and 0 over the same one', () => {
  const x = pixels(stream[0]), network = at.source.copy([], BATCH);
  const same = overAugmentations(network, x, 3, () => new Rng('same'));
  assert.ok(Math.max(...same.variance.dataSync()) < 1e-9);
  let i = 0;
  const counting = { logits: () => tf.fill([1, 2], [1, 2, 6][i++]) } as unknown as Network;
  const { mean, variance } = overAugmentations(counting, x, 3, () => new Rng('any'));
  assert.ok(maxDifference(mean.dataSync(), [3, 3]) < 1e-6 && maxDifference(variance.dataSync(), [7, 7]) < 1e-5);
});

test('the adapters start as nothing; D has no gradient before U has moved', async () => {
  const a = await at.start('vida', CONFIG), bn = await at.start('bn-adapt'), begun = values(a, /^student\..*down$/);
  assert.deepEqual(step(a, pixels(stream[0])), step(bn, pixels(stream[0])));
  assert.deepEqual(values(a, /^student\..*down$/), begun);
  assert.ok([...values(a, /^student\..*up$/).values()].every((u) => u.some((v) => v !== 0)));
  step(a, pixels(stream[1]));
  for (const [name, D] of values(a, /^student\..*down$/)) assert.notDeepEqual(D, begun.get(name), name);
});

test('the teacher merged into weights predicts as it does with adapters beside them', async () => {
  for (const threshold of [0, 10]) {
    const a = await at.start('vida', { ...CONFIG, high: 40, lr: 0.02, vidaLr: 0.1, threshold });
    run(a);
    const [low, high] = scoped(() => a.state().get('lambda')!.dataSync().slice());
    assert.ok(threshold === 0 ? high > 1 && low < 1 : high < 1 && low > 1, `${low} ${high}`);
    const weights = scoped(() => new Map([...a.learnt()].map(([n, t]) => [n, tf.keep(t.clone())])));
    assert.deepEqual([...weights.keys()].sort(), at.source.parameters().sort());
    // A second adaptation that goes on from the same state predicts with the teacher, under the uncertainty of its own batch.
    const x = pixels(stream[0]), ours = scoped(() => at.source.with(BATCH, weights).copy([], BATCH).logits(x).dataSync().slice() as Float32Array);
    const b = await at.start('vida', { ...CONFIG, high: 40, nAug: 1, threshold });
    scoped(() => b.restore(a.state()));
    const beside = step(b, x);
    // With one augmentation nothing is uncertain and both λ are 1: undo that in the weights.
    const level = await at.start('vida', { ...CONFIG, high: 40, threshold });
    scoped(() => level.restore(new Map([...a.state()].map(([n, t]) => [n, n === 'lambda' ? tf.ones([2]) : t]))));
    const flat = scoped(() => at.source.with(BATCH, level.learnt()).copy([], BATCH).logits(x).dataSync().slice() as Float32Array);
    assert.ok(maxDifference(flat, beside) < 1e-5 * Math.max(1, ...beside.map(Math.abs)), String(maxDifference(flat, beside)));
    assert.ok(maxDifference(ours, flat) > 1e-4, 'λ is in what is merged');
  }
});

test('the adapters have a learning rate and a share of the teacher of their own', async () => {
  const still = await at.start('vida', { ...CONFIG, lr: 0 }), bare = await at.start('vida', { ...CONFIG, vidaLr: 0 });
  const [weights, ups] = [/^student\.(?!.*vida)/, /^student\..*vida.*up$/];
  const source = values(still, weights);
  [still, bare].forEach((a) => run(a));
  assert.deepEqual(values(still, weights), source);
  assert.ok([...values(bare, ups).values()].every((u) => u.every((v) => v === 0)));
  assert.ok([...values(still, ups).values()].every((u) => u.some((v) => v !== 0)));
  const kept = await at.start('vida', { ...CONFIG, alpha: 1, vidaAlpha: 0 });
  run(kept);
  const vida = (of: string): Map<string, number[]> => new Map([...values(kept, new RegExp(`^${of}\\..*vida`))].map(([n, v]) => [n.slice(of.length), v]));
  assert.deepEqual(vida('teacher'), vida('student'));
  for (const [name, v] of values(kept, /^teacher\.(?!.*vida)/)) assert.deepEqual(v, [...at.source.value(name.slice('teacher.'.length)).dataSync()], name);
});

test('with p = 1 every weight returns to its start, adapters to that of the warm-up', async () => {
  const prepared = (await at.prepare('vida', { ...CONFIG, warmUp: 2, warmUpLr: 0.01 }, sourceImages()))!;
  assert.ok([...prepared].every(([n, t]: [string, Tensor]) => !n.endsWith('up') || t.dataSync().some((v) => v !== 0)));
  const a = await at.start('vida', { ...CONFIG, restore: 1 }, { prepared });
  const begun = values(a, /^student\./);
  run(a);
  assert.deepEqual(values(a, /^student\./), begun);
  for (const [n, t] of prepared) assert.deepEqual(begun.get(`student.${n}`), [...t.dataSync()]);
});

test('the warm-up lowers the loss on what it learns from', async () => {
  const [clean] = sourceImages(), accuracy = async (warmUp: number): Promise<number> => {
    const prepared = (await at.prepare('vida', { ...CONFIG, warmUp, warmUpLr: 0.02 }, [clean]))!, a = await at.start('vida', CONFIG, { prepared });
    const z = tf.tensor2d(step(a, clean.pixels), [12, 4]);
    return tf.losses.softmaxCrossEntropy(tf.oneHot(clean.labels, 4), z).dataSync()[0];
  };
  assert.ok(await accuracy(20) < 0.8 * await accuracy(0));
});

test('a network with attention has its adapters there, another at its convolutions', async () => {
  const vit = await bench(join(ROOT, 'test/golden/models/vit-classify'));
  assert.deepEqual([...new Set(vidaSites(vit.source.model).map((s) => s.role))], ['query', 'key', 'value', 'output']);
  assert.deepEqual([...new Set(vidaSites(at.source.model).map((s) => s.kind))], ['conv']);
  vit.runtime.dispose();
});
