import { tf, useBackend, type Tensor } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { vote } from '../../src/tta/adanpc.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, sourceImages, step, tinyResnet, type Bench } from './support.js';

let at: Bench;

before(async () => {
  await useBackend('auto');
  at = await bench(tinyResnet(scratch()));
});
after(() => at.runtime.dispose());

test('two nearest of (1, 0), (0, 1), (.6, .8) to (.8, .6) vote .167992 to .832028; the nearest alone gives its own class', () => {
  const p = (neighbours: number): ArrayLike<number> => tf.tidy(() => {
    const similarity = tf.matMul(tf.tensor2d([[0.8, 0.6]]), tf.tensor2d([[1, 0], [0, 1], [0.6, 0.8]]), false, true);
    return vote(similarity as tf.Tensor2D, tf.tensor1d([0, 1, 1], 'int32'), { neighbours, temperature: 0.1, classes: 2 }).dataSync().slice();
  });
  assert.ok(maxDifference(p(2), [0.167992, 0.832028]) < 1e-5);
  assert.ok(maxDifference(p(1), [1e-5, 1]) < 1e-7);
});

test('adanpc: sure rows join the memory, none above a confidence of 1; the authors\' gate is never as sure; no weight changes', async () => {
  const clean = sourceImages(), x = pixels(images(6, 1));
  const before = at.source.parameters().map((n) => [...at.source.value(n).dataSync()]);
  const size = async (config: Record<string, unknown>): Promise<number> => {
    const prepared = (await at.prepare('adanpc', config, clean))!, a = await at.start('adanpc', { neighbours: 3, ...config }, { prepared });
    step(a, x);
    const state = a.state(), n = state.get('memory.labels')!.shape[0];
    tf.dispose([...state.values() as Iterable<Tensor>, ...prepared.values()]);
    assert.equal(a.learnt().size, 0);
    a.dispose();
    return n;
  };
  assert.equal(await size({ confidence: 0 }), 6);
  assert.equal(await size({ confidence: 1.1 }), 0);
  assert.equal(await size({ confidence: Math.E / (Math.E + 3) + 0.001, gate: 'official' }), 0);
  assert.deepEqual(at.source.parameters().map((n) => [...at.source.value(n).dataSync()]), before);
  tf.dispose([x, ...clean.flatMap((b) => [b.pixels, b.labels])]);
});
