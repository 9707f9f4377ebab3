import { tf, type Tensor2D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { crowd } from '../../src/tta/selection.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, step, tinyResnet, type Bench } from './support.js';

let at: Bench;
const batches = [1, 2, 3].map((seed) => images(6, seed));

before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

/** The logits of each batch in turn. */
async function run(name: string, config: Record<string, unknown>, count = 3, rounds = 1): Promise<Float32Array[]> {
  const a = await at.start(name, config);
  const z = Array<typeof batches>(rounds).fill(batches.slice(0, count)).flat().map((b) => tf.tidy(() => step(a, pixels(b))));
  a.dispose();
  return z;
}

test('a row is confirmed by the probability of the original class, not by confidence; equal is enough', () => {
  const original = [[0.6, 0.4]];
  for (const [adapted, kept] of [[[0.55, 0.45], false], [[0.7, 0.3], true], [[0.3, 0.7], false], [[0.6, 0.4], true]] as const) assert.deepEqual(crowd(original, [[...adapted]]), [kept], String(adapted));
});

test('ostta: at the first step every row is kept, so that without the mean\'s entropy it is tent', async () => {
  const [tent, ostta] = [await run('tent', { lr: 0.01 }, 2), await run('ostta', { lr: 0.01, lambdaMax: 0 }, 2)];
  assert.deepEqual(ostta[0], tent[0]);
  assert.ok(maxDifference(ostta[1], tent[1]) < 1e-4);
});

test('ostta: the mean prediction is spread more with λ_max', async () => {
  const spread = (z: Float32Array): number => tf.tidy(() => {
    const p = tf.mean(tf.softmax(tf.tensor2d(z, [6, 4])), 0);
    return tf.neg(tf.sum(tf.mul(p, tf.log(p)))).dataSync()[0];
  });
  const a = await at.start('ostta', { lr: 0.02, lambdaMax: 0 }), b = await at.start('ostta', { lr: 0.02, lambdaMax: 2 });
  const last = [a, b].map((m) => Array.from({ length: 8 }, () => tf.tidy(() => step(m, pixels(batches[0])))).at(-1)!);
  assert.ok(spread(last[1]) > spread(last[0]), last.map(spread).join(' '));
  [a, b].forEach((m) => m.dispose());
});

test('a batch of which no row is confirmed leaves finite weights, and tent as it was', async () => {
  // A source whose own class is certain: whatever is adapted can only lose.
  const { source } = at, sure = Object.create(source) as typeof source;
  sure.copy = (names, ...more) => {
    const network = source.copy(names, ...more);
    if (names.length > 0) return network;
    const logits = network.logits.bind(network);
    network.logits = (x) => tf.mul(logits(x), 1000) as Tensor2D;
    return network;
  };
  const bn = await run('bn-adapt', {});
  for (const [name, config] of [['tent', {}], ['eata', { margin: 2, similarity: 2 }], ['sar', { margin: 2 }]] as const) {
    const a = await at.start(name, { lr: 0.1, select: 'crowd', ...config }, { source: sure });
    assert.deepEqual(batches.map((b) => tf.tidy(() => step(a, pixels(b)))), bn, name);
    a.dispose();
  }
  const ostta = await at.start('ostta', { lr: 0.01 }, { source: sure });
  for (const b of batches) assert.ok(tf.tidy(() => step(ostta, pixels(b))).every(Number.isFinite));
  ostta.dispose();
});

test('tent, eata and sar learn from the confirmed rows alone where they are told to', async () => {
  for (const [name, config] of [['tent', { lr: 0.05 }], ['eata', { lr: 0.05, margin: 2, similarity: 2 }], ['sar', { lr: 0.1, margin: 2, recovery: 0 }]] as const) {
    const [all, some] = [await run(name, config, 3, 4), await run(name, { ...config, select: 'crowd' }, 3, 4)];
    assert.ok(maxDifference(all[1], some[1]) < 1e-4, `${name}: at the first step all are confirmed`);
    assert.ok(maxDifference(all[11], some[11]) > 1e-4, `${name}: later not`);
  }
});
