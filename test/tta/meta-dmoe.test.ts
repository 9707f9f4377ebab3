import { Rng, scoped, tf, variableGradients, type Scalar, type Tensor, type Tensor2D, type Tensor3D, type Tensor4D, type Variable } from '@graft/kernels';
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { aggregate, newAggregator, withoutExpert } from '../../src/tta/aggregator.js';
import { innerStep, metaGradients, type Episode } from '../../src/tta/meta-distill.js';
import type { SourceBatch } from '../../src/tta/method.js';
import type { Network } from '../../src/tta/network.js';
import { maxDifference } from '../models/golden.js';
import { scratch } from '../support/tiny.js';
import { bench, images, pixels, step, tinyResnet, type Bench } from './support.js';

let at: Bench;
before(async () => { at = await bench(tinyResnet(scratch())); });
after(() => at.runtime.dispose());

const rng = new Rng('meta-dmoe');
const random = (...shape: number[]): Tensor => tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()), shape);

/** Two layers under a head, in the place of a network: features [B, 3] of rows [B, 4]. */
function toy(linear = false): { network: Network; theta: Map<string, Variable>; own: Map<string, Variable> } {
  const own = new Map([['w1', tf.variable(random(5, 4))], ['w2', tf.variable(random(3, linear ? 4 : 5))], ['h', tf.variable(random(2, 3))]]);
  const features = (x: Tensor): Tensor2D => tf.matMul((linear ? x : tf.tanh(tf.matMul(x, own.get('w1')!, false, true))) as Tensor2D, own.get('w2') as unknown as Tensor2D, false, true);
  const logits = (x: Tensor): Tensor2D => tf.matMul(features(x), own.get('h') as unknown as Tensor2D, false, true);
  const network = {
    own, logits, predict: (x: Tensor) => ({ features: features(x), logits: logits(x) }),
    gradients: (loss: () => { loss: Tensor; kept: Tensor }) => {
      const { value, grads } = variableGradients(() => loss().loss as Scalar, [...own.values()]);
      return { kept: value, grads: new Map([...own].flatMap(([n, v]): [string, Tensor][] => (grads.has(v) ? [[n, grads.get(v)!]] : []))) };
    },
  };
  return { network: network as unknown as Network, own, theta: new Map([...own].filter(([n]) => n !== 'h' && !(linear && n === 'w1'))) };
}

/** An episode whose target depends on φ = {p}. */
function episodeOf(p: Variable): Episode {
  const [x, a] = [random(6, 4), random(6, 3)];
  return { support: x as Tensor4D, query: { pixels: random(8, 4) as Tensor4D, labels: tf.tensor1d([0, 1, 0, 1, 1, 1, 0, 0], 'int32') }, target: () => tf.mul(a, tf.sin(p)) as Tensor2D };
}

test('the aggregator does not see the order of experts; leaving one out leaves M - 1 tokens, the others', () => {
  const phi = newAggregator(8, 2, (name) => new Rng('phi', name)), tokens = random(3, 4, 8) as Tensor3D;
  const of = (t: Tensor3D): Float32Array => scoped(() => aggregate(phi, t, 2).dataSync().slice() as Float32Array);
  assert.ok(maxDifference(of(tf.reverse(tokens, 1)), of(tokens)) < 1e-5);
  const rest = withoutExpert(tokens, 1);
  assert.deepEqual(rest.shape, [3, 3, 8]);
  assert.deepEqual(rest.arraySync(), tokens.arraySync().map(([a, , c, d]) => [a, c, d]));
  assert.throws(() => newAggregator(8, 3, () => rng), /--heads 3: does not divide the 8 features/);
});

test('inner step of a linear student: Θ - (2α/(nd)) Σ (Θx - t) xᵀ', () => {
  const { network, own, theta } = toy(true), x = random(6, 4) as Tensor2D, t = random(6, 3) as Tensor2D, w = own.get('w2')!;
  const expected = tf.sub(w, tf.mul((2 * 0.3) / (6 * 3), tf.matMul(tf.sub(tf.matMul(x, w as unknown as Tensor2D, false, true), t) as Tensor2D, x, true, false)));
  innerStep(network, theta, x as unknown as Tensor4D, t, 0.3);
  assert.ok(maxDifference(w.dataSync(), expected.dataSync()) < 1e-6);
});

test('meta-gradients of θ, the head and φ agree with differences of the outer loss', () => {
  const { network, own, theta } = toy(), p = tf.variable(random(1, 3)), phi = new Map([['p', p]]), episode = episodeOf(p), alpha = 0.4;
  const outer = (): number => scoped(() => metaGradients(network, theta, new Map(), episode, alpha, true).loss.dataSync()[0]);
  const found = scoped(() => {
    const { theta: a, phi: b } = metaGradients(network, theta, phi, episode, alpha, false);
    return new Map([...a, ...b].map(([n, g]) => [n, g.dataSync().slice() as Float32Array]));
  });
  for (const [name, v] of [...own, ['p', p] as const]) {
    const direction = random(...v.shape), start = v.dataSync().slice(), h = 0.01;
    const [plus, minus] = [h, -h].map((by) => {
      v.assign(tf.add(tf.tensor(start, v.shape), tf.mul(direction, by)));
      return outer();
    });
    v.assign(tf.tensor(start, v.shape));
    const expected = (plus - minus) / (2 * h), along = [...direction.dataSync()].reduce((s, d, i) => s + d * found.get(name)![i], 0);
    assert.ok(Math.abs(along - expected) < 2e-3 * Math.max(0.1, Math.abs(expected)), `${name}: ${along} ${expected}`);
  }
});

test('with α = 0 the gradient is plain and φ has none; a first-order one leaves out the way through the inner step', () => {
  const { network, theta } = toy(), p = tf.variable(random(1, 3)), phi = new Map([['p', p]]), episode = episodeOf(p);
  const of = (alpha: number, firstOrder: boolean) => scoped(() => {
    const { theta: a, phi: b } = metaGradients(network, theta, phi, episode, alpha, firstOrder);
    return { w1: [...a.get('w1')!.dataSync()], phi: b.size };
  });
  const plain = scoped(() => [...network.gradients(() => {
    const loss = tf.mean(tf.losses.softmaxCrossEntropy(tf.oneHot(episode.query.labels, 2), network.logits(episode.query.pixels)));
    return { loss, kept: loss };
  }).grads.get('w1')!.dataSync()]);
  assert.ok(maxDifference(of(0, false).w1, plain) < 1e-6);
  assert.deepEqual([of(0, false).phi, of(0.4, true).phi, of(0.4, false).phi], [0, 0, 1]);
  assert.ok(maxDifference(of(0.4, true).w1, of(0.4, false).w1) > 1e-3);
});

const sourceImages = (domains: readonly string[]): SourceBatch[] =>
  [{ pixels: pixels(images(domains.length, 4)), labels: tf.tensor1d(domains.map((_, i) => i % 4), 'int32'), domains }];
const CONFIG = { experts: 2, heads: 4, support: 3, innerLr: 0.1, metaSteps: 1, expertEpochs: 1, aggregatorEpochs: 1 };

test('the first batch adapts, and is predicted after it; no later one does; a rate of 0 leaves the student', async () => {
  const prepared = (await at.prepare('meta-dmoe', CONFIG, sourceImages([...Array(6).fill('a'), ...Array(6).fill('b')])))!;
  const [a, b, still] = await Promise.all([0.5, 0.5, 0].map((innerLr) => at.start('meta-dmoe', { ...CONFIG, innerLr }, { prepared })));
  const [x, y] = [1, 2].map((seed) => pixels(images(6, seed)));
  const first = step(a, x);
  assert.deepEqual(step(a, x), first);
  assert.ok(maxDifference(first, step(still, x)) > 1e-3);
  // What the support says decides, nothing else of the batch.
  assert.ok(maxDifference(step(b, tf.concat([tf.slice(x, [0, 0, 0, 0], [3, -1, -1, -1]), tf.slice(y, [3, 0, 0, 0], [3, -1, -1, -1])], 0)).slice(0, 12), first.slice(0, 12)) < 1e-5);
  assert.deepEqual(step(a, y), step(b, y));
});

test('more experts than domains, and domains of too few images, are refused', async () => {
  await assert.rejects(at.prepare('meta-dmoe', CONFIG, sourceImages(Array(8).fill('a'))), { status: 64, message: /--experts 2: the source data has 1 domains/ });
  await assert.rejects(at.prepare('meta-dmoe', CONFIG, sourceImages([...Array(6).fill('a'), ...Array(5).fill('b')])), { status: 65, message: /a domain has 5 images; an episode needs 6/ });
});
