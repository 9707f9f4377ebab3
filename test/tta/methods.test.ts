import { Rng, scoped, tf, type Tensor } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { entropy } from '../../src/tta/losses.js';
import type { Adaptation } from '../../src/tta/method.js';
import { Source, type Network } from '../../src/tta/network.js';
import { ttaNames } from '../../src/tta/registry.js';
import { anchored } from '../../src/tta/eata.js';
import { movingAverage, stochasticRestore } from '../../src/tta/teacher.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, sourceImages, step, tinyResnet, type Bench } from './support.js';

let at: Bench;
const stream = [1, 2, 3].map((seed) => images(6, seed));
const run = (a: Adaptation, batches = stream): Float32Array[] => batches.map((b) => {
  const x = pixels(b);
  const z = step(a, x);
  x.dispose();
  return z;
});
/** Options under which a method changes something at every small batch. */
const LIVELY: Record<string, Record<string, number>> = {
  cotta: { pTh: 1.01, nAug: 2, lr: 0.01, restore: 0.1 },
  ostta: { lr: 0.05 },
  petal: { pTh: 1.01, nAug: 2, lr: 0.01, delta: 0.1 },
  eata: { margin: 1, similarity: 2, lr: 0.01 },
  sar: { margin: 1, lr: 0.05 },
  memo: { copies: 2 },
  t3a: { supports: 3 },
  rotta: { memory: 8, every: 4, lr: 0.01 },
  note: { memory: 8, every: 4, lr: 0.01 },
  vdp: { pTh: 1.01, nAug: 2, lr: 0.01, shift: 0 },
  'meta-dmoe': { experts: 2, heads: 4, support: 3, innerLr: 0.1, metaSteps: 2, expertEpochs: 1, aggregatorEpochs: 1 },
  rmt: { lr: 0.01, warmUp: 12 },
  adanpc: { neighbours: 3 },
  vida: { high: 4, nAug: 2, lr: 0.01, vidaLr: 0.01, warmUpLr: 0.01 },
  itta: { sourceSteps: 2, perDomain: 3, sourceLr: 0.01, lossLr: 0.01, lr: 0.01, eta: 1 },
};
const values = (state: ReadonlyMap<string, Tensor>, prefix = ''): Map<string, number[]> =>
  new Map([...state].filter(([n]) => n.startsWith(prefix)).map(([n, t]) => [n.slice(prefix.length), [...t.dataSync()]]));

before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

test('source: the logits of evaluation, in any order and any batch', async () => {
  const a = await at.start('source');
  const forward = run(a), backward = run(a, [...stream].reverse()).reverse();
  assert.deepEqual(forward, backward);
  const x = pixels(stream[0]);
  assert.deepEqual(forward[0], tf.tidy(() => at.runtime.logits({ kind: 'image', pixels: x }).dataSync().slice()));
  const alone = run(a, stream[0].map((image) => [image])).flatMap((z) => [...z]);
  assert.ok(maxDifference(alone, forward[0]) < 1e-5);
  x.dispose();
  a.dispose();
});

test('bn-adapt: a batch sees its own statistics and no earlier batch; on one image alone it is another model than on six', async () => {
  const a = await at.start('bn-adapt');
  const [, second] = run(a);
  const fresh = await at.start('bn-adapt');
  assert.deepEqual(run(fresh, [stream[1]])[0], second);
  assert.ok(maxDifference(run(fresh, [[stream[1][0]]])[0], second.subarray(0, 4)) > 1e-3);
  a.dispose();
  fresh.dispose();
});

test('batch statistics do not change when the images are brightened and stretched together', async () => {
  const a = await at.start('bn-adapt');
  const x = pixels(stream[0]);
  const stretched = tf.tidy(() => tf.add(tf.mul(x, 0.5), 0.25)) as typeof x;
  // Borders are padded with zeros after normalisation of the input, so equality is not exact; the source model differs far more.
  const source = await at.start('source');
  assert.ok(maxDifference(step(a, stretched), step(a, x)) < maxDifference(step(source, stretched), step(source, x)));
  [a, source, x, stretched].forEach((t) => t.dispose());
});

test('entropy of logits (a, 0) has the gradient -a p (1 - p)', () => {
  for (const a of [-3, -0.5, 0, 0.25, 2]) {
    const p = 1 / (1 + Math.exp(-a));
    const gradient = tf.tidy(() => tf.grad((z: Tensor) => tf.sum(entropy(tf.stack([z, tf.zerosLike(z)], 1) as tf.Tensor2D)))(tf.tensor1d([a])).dataSync()[0]);
    assert.ok(Math.abs(gradient + a * p * (1 - p)) < 1e-6, `${a}: ${gradient}`);
  }
});

test('tent: the first prediction is bn-adapt\'s; entropy of one batch goes to 0; all but γ and β of the norms stay as they are', async () => {
  const a = await at.start('tent', { lr: 0.05 }), bn = await at.start('bn-adapt');
  const frozen = at.source.parameters().filter((n) => !at.source.affine().includes(n));
  const before = frozen.map((n) => [...at.source.value(n).dataSync()]);
  const first = run(a, [stream[0]])[0];
  assert.deepEqual(first, run(bn, [stream[0]])[0]);
  for (let i = 0; i < 50; i++) run(a, [stream[0]]);
  const H = (z: Float32Array): number => tf.tidy(() => tf.mean(entropy(tf.tensor2d(z, [6, 4]))).dataSync()[0]);
  assert.ok(H(first) > 0.5 && H(run(a, [stream[0]])[0]) < 0.02, `${H(first)} ${H(run(a, [stream[0]])[0])}`);
  assert.deepEqual([...a.learnt().keys()].sort(), at.source.affine().sort());
  assert.deepEqual(frozen.map((n) => [...at.source.value(n).dataSync()]), before);
  a.dispose();
  bn.dispose();
});

test('tent: k steps a batch give the prediction of before, and the weights of the batch seen k times', async () => {
  const thrice = await at.start('tent', { steps: 3 }), once = await at.start('tent');
  assert.deepEqual(run(thrice, [stream[0], stream[1]]), ((z) => [z[0], z[3]])(run(once, [stream[0], stream[0], stream[0], stream[1]])));
  thrice.dispose();
  once.dispose();
});

test('cotta: with p = 1 the student is the source after every step, whatever the rate; a teacher that keeps all of itself predicts as bn-adapt', async () => {
  const a = await at.start('cotta', { lr: 10, restore: 1, pTh: 0, alpha: 1 }), bn = await at.start('bn-adapt');
  assert.deepEqual(run(a), run(bn));
  for (const [name, theta] of values(a.state(), 'student.')) assert.deepEqual(theta, [...at.source.value(name).dataSync()], name);
  a.dispose();
  bn.dispose();
});

test('cotta: the teacher follows the trained student, before the restoration', async () => {
  const alpha = 0.75;
  const kept = await at.start('cotta', { lr: 0.01, restore: 0, pTh: 0, alpha }), restored = await at.start('cotta', { lr: 0.01, restore: 1, pTh: 0, alpha });
  run(kept, [stream[0]]);
  run(restored, [stream[0]]);
  const student = values(kept.state(), 'student.');
  assert.deepEqual(values(restored.state(), 'teacher.'), values(kept.state(), 'teacher.'));
  for (const [name, theta] of values(kept.state(), 'teacher.')) {
    const theta0 = at.source.value(name).dataSync();
    assert.ok(maxDifference(theta, student.get(name)!.map((v, i) => alpha * theta0[i] + (1 - alpha) * v)) < 1e-6, name);
  }
  kept.dispose();
  restored.dispose();
});

test('cotta: with a constant student the teacher is α^k θ₀ + (1 - α^k) θ after k steps', () => {
  const theta0 = tf.tensor1d([1, -2, 0.5]), theta = tf.tensor1d([3, 3, 3]);
  const teacher = new Map([['w', tf.variable(theta0)]]), student = new Map([['w', tf.variable(theta)]]);
  const alpha = 0.9, k = 17;
  for (let i = 0; i < k; i++) movingAverage(teacher, student, alpha);
  assert.ok(maxDifference(teacher.get('w')!.dataSync(), [1, -2, 0.5].map((v) => alpha ** k * v + (1 - alpha ** k) * 3)) < 1e-5);
  tf.dispose([theta0, theta, ...teacher.values(), ...student.values()]);
});

test('cotta: of elements that all moved, the share p is restored', () => {
  const n = 40000, p = 0.01;
  const theta = tf.variable(tf.ones([n])), theta0 = tf.zeros([n]);
  stochasticRestore(theta, theta0, p, new Rng('restore', 7));
  const share = theta.dataSync().filter((v) => v === 0).length / n;
  assert.ok(Math.abs(share - p) < 4 * Math.sqrt((p * (1 - p)) / n), String(share));
  tf.dispose([theta, theta0]);
});

test('cotta: p_th = 0 looks at no augmented image, p_th above 1 at N', async () => {
  for (const [pTh, expected] of [[0, [1, 1, 0]], [1.01, [1, 5, 1]]] as const) {
    const calls: number[] = [];
    const source = new (class extends Source {
      override copy(...args: Parameters<Source['copy']>): Network {
        const network = super.copy(...args), index = calls.push(0) - 1, logits = network.logits.bind(network);
        network.logits = (x) => {
          calls[index]++;
          return logits(x);
        };
        return network;
      }
    })(at.runtime.model, at.runtime.weights, at.runtime.grafts, at.runtime.head!);
    const a = await at.start('cotta', { pTh, nAug: 5 }, { source });
    run(a, [stream[0]]);
    assert.deepEqual(calls, expected, 'forward passes of student, teacher and anchor');
    a.dispose();
  }
});

test('every method: a state moves to a fresh start; started again it repeats itself bit for bit; memory stays flat and is given back', async () => {
  const clean = sourceImages();
  for (const name of ttaNames()) {
    const config = LIVELY[name] ?? {};
    const prepared = await at.prepare(name, config, clean);
    const before = tf.memory().numTensors;
    const [a, b, c] = await Promise.all([0, 1, 2].map(() => at.start(name, config, { prepared })));
    const [first] = run(a, [stream[0]]);
    scoped(() => b.restore(a.state()));
    const held = tf.memory().numTensors;
    const rest = run(a, stream.slice(1));
    assert.equal(tf.memory().numTensors, held, `${name}: tensors after two more batches`);
    assert.deepEqual(run(b, stream.slice(1)), rest, name);
    assert.deepEqual(run(c), [first, ...rest], name);
    [a, b, c].forEach((x) => x.dispose());
    assert.equal(tf.memory().numTensors, before, `${name}: tensors when disposed of`);
  }
});

test('eata and sar: no row reliable enough, no step; a row of entropy E₀ is not', async () => {
  const bn = await at.start('bn-adapt'), expected = run(bn);
  for (const name of ['eata', 'sar']) {
    const a = await at.start(name, { margin: 0, lr: 0.1 });
    assert.deepEqual(run(a), expected, name);
    a.dispose();
  }
  bn.dispose();
});

test('eata: redundant rows are left out; a surer row weighs more', async () => {
  const bn = await at.start('bn-adapt'), strict = await at.start('eata', { margin: 1, similarity: 0, lr: 0.1 });
  const [, second, third] = run(bn), z = run(strict);
  // The first batch has nothing to be compared with; afterwards no row is new enough.
  assert.notDeepEqual(z[1], second);
  const again = run(strict, [stream[1], stream[1]]);
  assert.deepEqual(again[0], again[1]);
  assert.notDeepEqual(z[2], third);
  [bn, strict].forEach((a) => a.dispose());
});

test('eata: the gradient of the Fisher term is 2 F (θ - θ₀)', () => {
  const [name] = at.source.affine(), theta0 = at.source.value(name);
  tf.tidy(() => {
    const F = new Map([[name, tf.fill(theta0.shape, 3)]]);
    const g = tf.grad((theta: Tensor) => anchored(at.source, new Map([[name, theta]]), F))(tf.add(theta0, 0.5));
    assert.ok(g.dataSync().every((v) => Math.abs(v - 3) < 1e-5));
  });
});

test('sar: below the bound it starts again from the source, optimiser included; the top stage is left alone', async () => {
  const a = await at.start('sar', { margin: 1, lr: 0.1, recovery: 100 }), fresh = await at.start('sar');
  run(a);
  assert.deepEqual(values(a.state()), values(fresh.state()));
  const names = [...a.learnt().keys()];
  assert.ok(names.some((n) => n.startsWith('layer2')) && !names.some((n) => n.startsWith('layer3')));
  [a, fresh].forEach((x) => x.dispose());
});

test('sar: what the recovery watches is the entropy of rows that are reliable at the perturbed weights, too', async () => {
  const bn = await at.start('bn-adapt'), H = scoped(() => [...entropy(tf.tensor2d(run(bn, [stream[0]])[0], [6, 4])).dataSync()]);
  // Below E₀ is all of the batch before the weights move up the loss, not all of it afterwards.
  const e0 = Math.max(...H) + 1e-3, a = await at.start('sar', { margin: e0 / Math.log(4), lr: 0, rho: 0.5, recovery: 0 });
  run(a, [stream[0]]);
  const average = scoped(() => a.state().get('average')!.dataSync()[0]);
  assert.ok(average < e0, `${average} ${e0}`);
  const all = await at.start('sar', { margin: 2, lr: 0, rho: 0.5, recovery: 0 });
  run(all, [stream[0]]);
  const whole = scoped(() => all.state().get('average')!.dataSync()[0]);
  assert.ok(average < whole - 0.01, `${average} ${whole}`);
  [bn, a, all].forEach((x) => x.dispose());
});

test('shot: the head stays; several steps change later predictions only', async () => {
  const a = await at.start('shot', { steps: 2 }), bn = await at.start('bn-adapt');
  assert.deepEqual(run(a, [stream[0]]), run(bn, [stream[0]]));
  assert.ok(maxDifference(run(a, [stream[0]])[0], run(bn, [stream[0]])[0]) > 1e-3);
  assert.deepEqual(at.source.parameters().filter((n) => !a.learnt().has(n)), ['linear.weight', 'linear.bias']);
  [a, bn].forEach((x) => x.dispose());
});

test('memo: an image is predicted the same whatever stands beside or before it; more certainly than without the step', async () => {
  const a = await at.start('memo', { copies: 4 }), together = run(a, [stream[0]])[0], apart = run(a, [...stream[0]].reverse().map((image) => [image])).reverse();
  assert.deepEqual([...together], apart.flatMap((z) => [...z]));
  const still = await at.start('memo', { copies: 4, lr: 0 });
  assert.ok(maxDifference(run(still, [stream[0]])[0], together) > 1e-6);
  [a, still].forEach((x) => x.dispose());
});

test('note: an image is predicted before it is stored, by itself', async () => {
  const a = await at.start('note', { memory: 4, every: 4, lr: 0.1 }), still = await at.start('note', { memory: 4, every: 100 });
  const [z, expected] = [run(a, [stream[0]])[0], run(still, [stream[0]])[0]];
  assert.deepEqual([...z.subarray(0, 16)], [...expected.subarray(0, 16)]);
  assert.ok(maxDifference(z.subarray(16), expected.subarray(16)) > 1e-3);
  assert.ok(maxDifference(run(still, stream[0].map((image) => [image])).flatMap((r) => [...r]), expected) < 1e-5);
  [a, still].forEach((x) => x.dispose());
});
