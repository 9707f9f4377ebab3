import { Rng, scoped, tf, type Tensor, type Tensor2D, type Variable } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { consistency, lossWeights } from '../../src/tta/consistency.js';
import { alignment } from '../../src/tta/itta-training.js';
import type { Adaptation, Prepared } from '../../src/tta/method.js';
import { alongDirection, gradientsOf } from '../../src/tta/mixed-derivative.js';
import { drawMix, mixStyle, stageEnds } from '../../src/tta/mixstyle.js';
import { STORED } from '../../src/tta/statistics.js';
import { maxDifference, ROOT } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, sourceImages, step, tinyResnet, type Bench } from './support.js';

const CONFIG = { sourceSteps: 3, perDomain: 3, sourceLr: 0.01, lossLr: 0.01, lr: 0.01, eta: 1 };
let at: Bench, prepared: Prepared;
before(async () => {
  at = await bench(tinyResnet(scratch()));
  prepared = (await at.prepare('itta', CONFIG, sourceImages()))!;
});
after(() => at.runtime.dispose());

const rng = new Rng('itta');
const random = (...shape: number[]): Tensor => tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()), shape);
const stream = [1, 2, 3].map((seed) => images(6, seed));
const run = (a: Adaptation): Float32Array[] => stream.map((b) => step(a, pixels(b)));
const started = (config: Record<string, unknown> = {}): Promise<Adaptation> => at.start('itta', { ...CONFIG, ...config }, { prepared });

test('the loss as it starts is mean(max(z̃ - z, 0)²)', () => {
  const [z, mixed] = [random(5, 7) as Tensor2D, random(5, 7) as Tensor2D];
  const expected = tf.mean(tf.square(tf.relu(tf.sub(mixed, z)))).dataSync()[0];
  assert.ok(Math.abs(consistency(lossWeights(7), z, mixed).dataSync()[0] - expected) < 1e-6);
});

test('mixing: with λ = 1 an image stays as it is; with λ = 0 it has the mean and deviation of its partner', () => {
  const x = random(3, 4, 5, 2), of = (lambda: number): Tensor => mixStyle(x, { after: '', lambda: Float32Array.from([lambda, lambda, lambda]), partner: Int32Array.from([1, 2, 0]) });
  assert.ok(maxDifference(of(1).dataSync(), x.dataSync()) < 1e-5);
  const { mean, variance } = tf.moments(of(0), [1, 2]), own = tf.moments(x, [1, 2]);
  const partners = (t: Tensor): ArrayLike<number> => tf.gather(t, tf.tensor1d([1, 2, 0], 'int32')).dataSync();
  assert.ok(maxDifference(mean.dataSync(), partners(own.mean)) < 1e-5 && maxDifference(variance.dataSync(), partners(own.variance)) < 1e-4);
  // Mean and deviation are constants to the gradient, which only scales what comes in.
  const g = scoped(() => tf.grad((t: Tensor) => tf.sum(mixStyle(t, { after: '', lambda: Float32Array.from([1, 1, 1]), partner: Int32Array.from([0, 1, 2]) })))(x).dataSync().slice());
  assert.ok(maxDifference(g, Float32Array.from(g, () => 1)) < 1e-4);
});

test('draws: after one of the first two stages, λ near 0 or 1 more often than not, partners a permutation', async () => {
  const stages = stageEnds(at.source.model), draws = Array.from({ length: 40 }, (_, i) => drawMix(stages, 25, new Rng('draw', i)));
  assert.deepEqual(stages.map((s) => s.name), ['layer1.0', 'layer2.0', 'layer3.0']);
  assert.deepEqual([...new Set(draws.map((d) => d.after))].sort(), ['layer1.0', 'layer2.0']);
  const lambdas = draws.flatMap((d) => [...d.lambda]), share = lambdas.filter((l) => l < 0.1 || l > 0.9).length / lambdas.length, mean = lambdas.reduce((a, b) => a + b) / lambdas.length;
  assert.ok(Math.abs(share - 0.807) < 0.05 && Math.abs(mean - 0.5) < 0.05, `${share} ${mean}`); // P(λ < .1) of Beta(.1, .1) is .4035
  assert.ok(draws.every((d) => [...d.partner].sort((a, b) => a - b).every((v, i) => v === i)));
  const vit = await bench(join(ROOT, 'test/golden/models/vit-classify')), blocks = vit.source.model.sites.filter((s) => s.kind === 'block');
  assert.equal(stageEnds(vit.source.model).at(-1), blocks.at(-1));
  vit.runtime.dispose();
});

test('alignment: 0 of gradients in proportion, 0.2 (1 - ρ)(n - 1)/n of others; v is its gradient with mean and deviation held', () => {
  const m = new Map([['a', random(4, 3)], ['b', random(5)]]), c = new Map([['a', random(4, 3)], ['b', random(5)]]), n = 17;
  assert.ok(Math.abs(alignment(new Map([...m].map(([k, t]) => [k, tf.add(tf.mul(t, 3), 2)])), m).penalty.dataSync()[0]) < 1e-6);
  const flat = (g: Map<string, Tensor>): number[] => [...g.values()].flatMap((t) => [...t.dataSync()]);
  const moments = (v: number[]) => { const mean = v.reduce((a, b) => a + b) / n; return { mean, std: Math.sqrt(v.reduce((s, x) => s + (x - mean) ** 2, 0) / (n - 1)) }; };
  const [x, y] = [flat(c), flat(m)], [mx, my] = [moments(x), moments(y)];
  const rho = x.reduce((s, v, i) => s + (v - mx.mean) * (y[i] - my.mean), 0) / ((n - 1) * mx.std * my.std);
  const { penalty, v } = alignment(c, m);
  assert.ok(Math.abs(penalty.dataSync()[0] - (0.2 * (1 - rho) * (n - 1)) / n) < 1e-6);
  const held = (g: number[]): number => g.reduce((s, value, i) => s + ((value - mx.mean) / mx.std - (y[i] - my.mean) / my.std) ** 2, 0) * (0.1 / n), h = 1e-4;
  const slopes = x.map((_, i) => (held(x.map((u, j) => u + (i === j ? h : 0))) - held(x.map((u, j) => u - (i === j ? h : 0)))) / (2 * h));
  assert.ok(maxDifference(flat(v), slopes) < 1e-5);
  const zeros = alignment(new Map([...c].map(([k, t]) => [k, tf.zerosLike(t)])), m);
  assert.ok(flat(zeros.v).every(Number.isFinite) && Number.isFinite(zeros.penalty.dataSync()[0]));
});

test('the derivative along v of the gradient for w is that of v · ∇_θ for w', () => {
  const theta: Map<string, Variable> = new Map([['W', tf.variable(random(3, 4))]]), w: Map<string, Variable> = new Map([...lossWeights(3)].map(([n, t]) => [n, tf.variable(tf.add(t, tf.mul(0.1, random(3))))]));
  const [x, y] = [random(6, 4) as Tensor2D, random(6, 4) as Tensor2D], v = new Map([['W', random(3, 4)]]);
  const features = (t: Tensor2D): Tensor2D => tf.tanh(tf.matMul(t, theta.get('W')! as Tensor as Tensor2D, false, true)) as Tensor2D;
  const loss = (): Tensor => consistency(w, features(x), features(y));
  const found = scoped(() => new Map([...alongDirection(theta, v, () => gradientsOf(w, loss))].map(([n, t]) => [n, t.dataSync().slice()])));
  const projected = (): number => scoped(() => tf.sum(tf.mul(v.get('W')!, gradientsOf(theta, loss).get('W')!)).dataSync()[0]);
  for (const name of ['f_w.0.weight', 'f_w.4.bias', 'f_w.9.weight']) {
    const variable = w.get(name)!, start = variable.dataSync().slice(), direction = random(3).dataSync(), h = 3e-3;
    const [plus, minus] = [h, -h].map((by) => {
      variable.assign(tf.tensor1d(start.map((s, i) => s + by * direction[i])));
      return projected();
    });
    variable.assign(tf.tensor1d(start));
    const expected = (plus - minus) / (2 * h), along = (found.get(name) as Float32Array).reduce((s, g, i) => s + g * direction[i], 0);
    assert.ok(Math.abs(along - expected) < 0.02 * Math.max(0.05, Math.abs(expected)), `${name}: ${along} ${expected}`);
  }
  const before = theta.get('W')!.dataSync().slice();
  scoped(() => alongDirection(theta, v, () => gradientsOf(w, loss)));
  assert.deepEqual(theta.get('W')!.dataSync(), before);
  assert.equal(alongDirection(theta, new Map([['W', tf.zeros([3, 4])]]), () => new Map()).size, 0);
});

test('before the stream network and loss learn, and the penalty of each step is kept', () => {
  const network = [...prepared].filter(([n]) => n.startsWith('network.'));
  assert.equal(network.length, at.source.parameters().length);
  for (const [name, t] of network) assert.notDeepEqual(t.dataSync(), at.source.value(name.slice('network.'.length)).dataSync(), name);
  assert.ok(prepared.get('loss.f_w.0.weight')!.dataSync().some((v) => v !== 1));
  const penalties = [...prepared.get('alignment')!.dataSync()];
  assert.ok(penalties.length === 3 && penalties.every((p) => p > 0 && p < 0.4), String(penalties));
});

test('as they start the blocks do nothing; the prediction is that after the update; nothing but Θ changes', async () => {
  const trained = at.source.with(STORED, new Map([...prepared].flatMap(([n, t]): [string, Tensor][] => (n.startsWith('network.') ? [[n.slice(8), t]] : []))));
  const expected = scoped(() => trained.copy([], STORED).logits(pixels(stream[0])).dataSync().slice() as Float32Array);
  const still = await started({ lr: 0 }), a = await started(), held = [...prepared].map(([, t]) => [...t.dataSync()]);
  assert.ok(maxDifference(step(still, pixels(stream[0])), expected) < 1e-5);
  const before = scoped(() => new Map([...a.state()].map(([n, t]) => [n, [...t.dataSync()]])));
  assert.ok(maxDifference(run(a)[0], expected) > 1e-4);
  assert.deepEqual([...prepared].map(([, t]) => [...t.dataSync()]), held);
  const changed = scoped(() => [...a.state()].filter(([n, t]) => JSON.stringify([...t.dataSync()]) !== JSON.stringify(before.get(n))).map(([n]) => n));
  assert.ok(changed.length > 10 && changed.every((n) => /f_theta|^adam|^steps/.test(n)), changed.join());
  const blocks = [...before.keys()].filter((n) => n.startsWith('param.'));
  assert.equal(blocks.length, 3 * 5 * 2);
});

test('one image alone has nothing to be mixed with, and changes nothing', async () => {
  const a = await started(), still = await started({ lr: 0 });
  for (const image of stream[0].slice(0, 2)) assert.deepEqual(step(a, pixels([image])), step(still, pixels([image])));
});

test('what it learns cannot be saved as weights, and a model of images of any size has no blocks', async () => {
  const a = await started();
  assert.throws(() => a.graft!(), { status: 64, message: /--save-graft: what itta learns stands between the stages/ });
  const sizeless = Object.assign(Object.create(at.source) as typeof at.source, { model: { ...at.source.model, imageSize: undefined } });
  await assert.rejects(at.start('itta', {}, { source: sizeless, prepared }), { status: 64, message: /itta: this resnet-cifar reads no images of one size/ });
});
