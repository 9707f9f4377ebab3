import { tf, type Tensor2D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ENSEMBLES } from '../../src/tta/sda.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, sourceImages, step, tinyResnet, type Bench } from './support.js';

let at: Bench;
before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

const logs = (rows: number[][]): Tensor2D => tf.log(tf.tensor2d(rows));
const probabilities = (t: tf.Tensor): number[] => [...tf.exp(t).dataSync()];

test('two predictions become one', () => {
  const a = logs([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]]), b = logs([[0.1, 0.8, 0.1], [0.2, 0.5, 0.3]]);
  const is = (name: keyof typeof ENSEMBLES, expected: number[]): void => assert.ok(maxDifference(probabilities(ENSEMBLES[name](a, b)), expected) < 1e-6, name);
  is('sum', [0.4, 0.5, 0.1, 0.3, 0.4, 0.3]);
  is('entropy', [0.1, 0.8, 0.1, 0.2, 0.5, 0.3]);
  is('confidence', [0.1, 0.8, 0.1, 0.2, 0.5, 0.3]);
  is('first', [0.7, 0.2, 0.1, 0.4, 0.3, 0.3]);
  is('second', [0.1, 0.8, 0.1, 0.2, 0.5, 0.3]);
  // 0.5 beside 0.25, 0.25 is less sure by entropy than 0.49 beside 0.49, 0.02, but surer by its largest.
  const [c, d] = [logs([[0.5, 0.25, 0.25]]), logs([[0.49, 0.49, 0.02]])];
  assert.ok(maxDifference(probabilities(ENSEMBLES.entropy(c, d)), [0.49, 0.49, 0.02]) < 1e-6 && maxDifference(probabilities(ENSEMBLES.confidence(c, d)), [0.5, 0.25, 0.25]) < 1e-6);
  for (const name of Object.keys(ENSEMBLES) as (keyof typeof ENSEMBLES)[]) assert.ok(maxDifference(probabilities(ENSEMBLES[name](a, a)), probabilities(a)) < 1e-6, `${name} of equals`);
});

test('without fine-tuning both branches are the model; the order and size of batches do not matter', async () => {
  const prepared = await at.prepare('sda', { epochs: 0 }, sourceImages()), x = pixels(images(6, 1)), source = await at.start('source');
  const logits = step(source, x), softmax = [...tf.softmax(tf.tensor2d(logits, [6, 4])).dataSync()];
  const a = await at.start('sda', {}, { prepared });
  assert.ok(maxDifference(probabilities(tf.tensor1d(step(a, x))), softmax) < 1e-5);
  const other = pixels(images(6, 2)), whole = step2(a, x, other), alone = images(6, 1).map((image, i) => step2(a, pixels([image]), pixels([images(6, 2)[i]]))).reverse();
  assert.ok(maxDifference(alone.reverse().flatMap((z) => [...z]), whole) < 1e-5);
  assert.ok(maxDifference(whole, step(a, x)) > 1e-3, 'the projection counts');
  const second = await at.start('sda', { ensemble: 'second' }, { prepared }), first = await at.start('sda', { ensemble: 'first' }, { prepared });
  assert.equal(maxDifference(step2(second, x, other), step2(first, other, x)), 0);
  [source, a, second, first].forEach((m) => m.dispose());
});

const step2 = (a: Awaited<ReturnType<Bench['start']>>, x: tf.Tensor4D, projected: tf.Tensor4D): Float32Array => tf.tidy(() => a.step(x, [projected]).dataSync().slice() as Float32Array);

test('fine-tuning lowers the loss on what it is tuned to and moves the statistics, from the seed alone', async () => {
  const clean = sourceImages(), before = tf.memory().numTensors, config = { epochs: 30, lr: 0.02, flip: true };
  const prepared = (await at.prepare('sda', config, clean))!;
  assert.equal(tf.memory().numTensors, before + prepared.size, 'what was learnt, and nothing else');
  const again = (await at.prepare('sda', config, clean))!;
  assert.deepEqual([...again].map(([n, t]) => [n, [...t.dataSync()]]), [...prepared].map(([n, t]) => [n, [...t.dataSync()]]));
  const untuned = await at.prepare('sda', { epochs: 0 }, clean);
  const loss = async (given: typeof untuned): Promise<number> => {
    const a = await at.start('sda', { ensemble: 'second' }, { prepared: given }), z = tf.tensor2d(step(a, clean[0].pixels), [12, 4]), labels = clean[0].labels.dataSync();
    a.dispose();
    return -(z.arraySync()).reduce((sum, row, i) => sum + row[labels[i]], 0) / 12;
  };
  const [after, start] = [await loss(prepared), await loss(untuned)];
  assert.ok(after < 0.9 * start, `${start} → ${after}`);
  const [moved, kept] = [prepared, untuned!].map((p) => [...p].filter(([n]) => n.endsWith('running_mean')).map(([, t]) => [...t.dataSync()]));
  assert.notDeepEqual(moved, kept);
});
