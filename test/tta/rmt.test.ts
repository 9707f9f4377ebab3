import { tf, type Tensor2D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { contrastive, symmetricCrossEntropy } from '../../src/tta/losses.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, sourceImages, step, tinyResnet, type Bench } from './support.js';

let at: Bench;

before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

const value = (f: () => tf.Tensor): number => tf.tidy(() => f().dataSync()[0]);

test('symmetric cross-entropy of (1, 0) and (0, 0) is .753204 either way', () => {
  const [a, b] = [[[1, 0]], [[0, 0]]];
  for (const [p, q] of [[a, b], [b, a]]) assert.ok(Math.abs(value(() => symmetricCrossEntropy(tf.tensor2d(p), tf.tensor2d(q))) - 0.753204) < 1e-5);
});

test('three equal views of one row cost ln 2 at any temperature; two rows at right angles ln(2 + 3 e^-10)', () => {
  const views = (rows: number[][]): Tensor2D[] => [0, 1, 2].map(() => tf.tensor2d(rows));
  for (const tau of [0.05, 0.1, 1]) assert.ok(Math.abs(value(() => contrastive(views([[0.6, 0.8]]), tau)) - Math.LN2) < 1e-5, String(tau));
  assert.ok(Math.abs(value(() => contrastive(views([[1, 0], [0, 1]]), 0.1)) - Math.log(2 + 3 * Math.exp(-10))) < 1e-5);
});

test('rmt: the prediction is the sum of student and teacher; a teacher that keeps all of itself stays the source', async () => {
  const clean = sourceImages(), config = { lr: 0.01, warmUp: 0, alpha: 1 }, prepared = (await at.prepare('rmt', config, clean))!;
  const a = await at.start('rmt', config, { prepared }), bn = await at.start('bn-adapt'), x = pixels(images(6, 1)), y = pixels(images(6, 2));
  assert.ok(maxDifference(step(a, x), step(bn, x).map((v) => 2 * v)) < 1e-4);
  assert.ok(maxDifference(step(a, y), step(bn, y).map((v) => 2 * v)) > 1e-3, 'the student has learnt');
  for (const [name, t] of a.learnt()) assert.deepEqual([...t.dataSync()], [...at.source.value(name).dataSync()], name);
  [a, bn].forEach((m) => m.dispose());
  tf.dispose([x, y, ...prepared.values(), ...clean.flatMap((b) => [b.pixels, b.labels])]);
});

test('rmt: prototypes are the means of the features by class; warm-up and replay leave traces, no replay no images', async () => {
  const clean = sourceImages(), free = (await at.prepare('rmt', { warmUp: 0, lambdaSrc: 0 }, clean))!, whole = (await at.prepare('rmt', { warmUp: 12, lr: 0.01 }, clean))!;
  assert.deepEqual([...free.keys()], ['prototypes']);
  const network = at.source.copy([], (await import('../../src/tta/statistics.js')).BATCH);
  const expected = tf.tidy(() => {
    const f = clean.map((b) => network.predict(b.pixels).features.arraySync()).flat(), labels = clean.flatMap((b) => [...b.labels!.dataSync()]);
    return [0, 1, 2, 3].flatMap((k) => {
      const own = f.filter((_, i) => labels[i] === k);
      return f[0].map((_, c) => own.reduce((s, row) => s + row[c], 0) / Math.max(1, own.length));
    });
  });
  assert.ok(maxDifference(free.get('prototypes')!.dataSync(), expected) < 1e-5);
  assert.equal(whole.get('replay.pixels')!.shape[0], clean.reduce((n, b) => n + b.pixels.shape[0], 0));
  const moved = [...whole].filter(([n, t]) => n.startsWith('student.') && !n.includes('projector') && maxDifference(t.dataSync(), at.source.value(n.slice(8)).dataSync()) > 1e-4);
  assert.ok(moved.length > 10);
  network.dispose();
  tf.dispose([...free.values(), ...whole.values(), ...clean.flatMap((b) => [b.pixels, b.labels])]);
});
