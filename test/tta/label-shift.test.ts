import { tf, variableGradients, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { adjustedLoss, description } from '../../src/tta/label-shift.js';
import { loadTta } from '../../src/tta/registry.js';
import { loadWrapper } from '../../src/tta/wrappers.js';
import { maxDifference } from '../models/golden.js';
import { graft, scratch } from '../support/tiny.js';
import { arrow, bench, defaults, images, pixels, sourceImages, step, tinyResnet, type Bench } from './support.js';

const folder = scratch();
let at: Bench, model: string;

before(async () => { at = await bench(model = tinyResnet(folder)); });
after(() => at.runtime.dispose());

/** Frequencies of ten classes, the first twenty times those of the last. */
const longTail = ((n: number[]) => n.map((v) => v / n.reduce((a, b) => a + b)))(Array.from({ length: 10 }, (_, k) => 20 ** (-k / 9)));
const uniform = Array<number>(10).fill(0.1);

test('the frequencies of the source are described by 1, equal ones by 0, reversed ones by -.7371; where the source\'s are equal, each class by itself', () => {
  const [of, equal, back] = [longTail, uniform, [...longTail].reverse()].map((p) => description(p, longTail)[0]);
  assert.ok(maxDifference([of, equal, back], [1, 0, -0.7371]) < 1e-4, `${of} ${equal} ${back}`);
  assert.ok(maxDifference(description(longTail, uniform), longTail.map((p) => Math.log(10 * p))) < 1e-12);
});

test('the loss for the source\'s own frequencies is the cross-entropy; for others its minimiser predicts these', () => {
  const z = tf.tensor2d([[1, -0.5]]), y = tf.tensor1d([1], 'int32');
  const [own, plain] = tf.tidy(() => [adjustedLoss(z, y, [0.9, 0.1], [0.9, 0.1], 1), tf.losses.softmaxCrossEntropy(tf.oneHot(y, 2), z)].map((t: Tensor) => t.dataSync()[0]));
  assert.ok(Math.abs(own - plain) < 1e-6);
  // Free logits of one constant feature, labels drawn from the source's frequencies.
  const free = tf.variable(tf.zeros([1, 2])), labels = tf.tensor1d(Array.from({ length: 10 }, (_, i) => Number(i === 9)), 'int32') as Tensor1D;
  for (let i = 0; i < 800; i++) {
    const { value, grads } = variableGradients(() => adjustedLoss(tf.tile(free, [10, 1]) as Tensor2D, labels, [0.9, 0.1], [0.1, 0.9], 1) as tf.Scalar, [free]);
    tf.tidy(() => free.assign(tf.sub(free, tf.mul(grads.get(free)!, 4))));
    tf.dispose([value, ...grads.values()]);
  }
  assert.ok(maxDifference(tf.tidy(() => tf.softmax(free).dataSync().slice()), [0.1, 0.9]) < 1e-3);
  tf.dispose([z, y, free, labels]);
});

/** A method with the adapter around it, trained for so many steps. */
async function wrapped(name: string, config: Record<string, unknown>) {
  const method = (await loadWrapper('label-shift')).wrap(await loadTta(name)), full = { ...defaults(method), ...config }, clean = sourceImages();
  const prepared = method.prepare!(at.source, clean, full, 0);
  tf.dispose(clean.flatMap((b) => [b.pixels, b.labels]));
  return { prepared, start: () => method.start(at.source, full, 0, prepared) };
}

test('an adapter that has learnt nothing leaves every host as it is; one that has does not', async () => {
  const batches = [1, 2, 3].map((seed) => pixels(images(6, seed)));
  for (const name of ['bn-adapt', 'tent', 'sar', 'shot', 'note']) {
    const config = { lr: 0.01, ...(name === 'sar' ? { margin: 1 } : {}) }, bare = await at.start(name, config), expected = batches.map((x) => step(bare, x));
    bare.dispose();
    for (const [lsaLr, same] of [[0, true], [0.05, false]] as const) {
      const { prepared, start } = await wrapped(name, { ...config, lsaLr, lsaSteps: 20 }), a = start(), z = batches.map((x) => step(a, x));
      assert.equal(z.every((v, i) => maxDifference(v, expected[i]) < 1e-4), same, `${name}, learning rate ${lsaLr}`);
      a.dispose();
      tf.dispose([...prepared.values()]);
    }
  }
  tf.dispose(batches);
});

test('what the host learns beforehand is its own: eata inside an adapter that has learnt nothing is eata', async () => {
  const batches = [1, 2, 3].map((seed) => pixels(images(6, seed))), config = { lr: 0.01, margin: 1, similarity: 2, lambda: 100 };
  const { prepared, start } = await wrapped('eata', { ...config, lsaLr: 0, lsaSteps: 1 }), a = start();
  const bare = await at.start('eata', config, { prepared: new Map([...prepared].filter(([n]) => !n.startsWith('lsa.'))) });
  for (const x of batches) assert.ok(maxDifference(step(a, x), step(bare, x)) < 1e-4);
  [a, bare].forEach((x) => x.dispose());
  tf.dispose([...prepared.values(), ...batches]);
});

test('with a decay of 0 the estimate is the mean prediction of the last batch; it is state that moves to a fresh start', async () => {
  const { prepared, start } = await wrapped('tent', { lr: 0.01, priorDecay: 0, lsaSteps: 5, lsaLr: 0.05 });
  const [x, y] = [1, 2].map((seed) => pixels(images(6, seed))), before = tf.memory().numTensors;
  const a = start(), b = start(), fresh = start(), z = step(a, x), state = a.state();
  const mean = tf.tidy(() => tf.mean(tf.softmax(tf.tensor2d(z, [6, 4])), 0).dataSync().slice());
  assert.ok(maxDifference(state.get('lsa.prior')!.dataSync(), mean) < 1e-5);
  b.restore(state);
  const next = step(a, y);
  assert.deepEqual(step(b, y), next);
  assert.notDeepEqual(step(fresh, y), next);
  [a, b, fresh].forEach((m) => m.dispose());
  tf.dispose([...state.values()]);
  assert.equal(tf.memory().numTensors, before);
  tf.dispose([x, y, ...prepared.values()]);
});

test('the command needs the labels of the source, and says so in one line', async () => {
  const rows = images(8, 1).map((image, i) => ({ image, label: i % 4, domain: 'a' })), clean = join(folder, 'clean.arrow');
  writeFileSync(clean, await arrow(rows));
  const run = (...more: string[]) => graft(['tta', '-m', model, '-q', '--method', 'tent', '--batch-size', '4', '-d', clean, '-o', join(folder, 'p.arrow'), ...more]);
  const done = run('--around', 'label-shift', '--lsa-steps', '3', '--source-data', clean);
  assert.equal(done.status, 0, done.stderr);
  for (const [more, status, message] of [
    [['--around', 'label-shift'], 64, /^graft tta: tent with label-shift needs --source-data, images of the source domain\n$/],
    [['--around', 'nothing'], 64, /^graft tta: unknown around 'nothing': one of label-shift\n$/],
  ] as const) {
    const { status: found, stderr } = run(...more);
    assert.equal(found, status);
    assert.match(stderr, message);
  }
});
