import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { activate, batchNormTrain, linear, tf, useBackend, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D, type Variable } from '@graft/kernels';
import { toGraft } from '../../src/adapters/instantiate.js';
import type { Method } from '../../src/adapters/method.js';
import { targetSites } from '../../src/adapters/targets.js';
import type { Model } from '../../src/models/model.js';
import type { Site } from '../../src/models/site.js';
import { maxDifference } from '../models/golden.js';
import { active, bench, fresh, gradients, hookCall, logits, norm, randomised, step } from './support.js';

/**
 * A toy of each family of methods: what a published one adds is its equations, not another way into the model.
 */
const TOY = { summary: 'a toy', paper: null, options: {} } as const;
type Toy = Method<any>; // eslint-disable-line @typescript-eslint/no-explicit-any

const ofKind = (kind: Site['kind']) => (model: Model): Site[] => model.sites.filter((s) => s.kind === kind);
const attentionInputs = (model: Model): Site[] => targetSites(model, { targetModules: ['query', 'value'] });

before(() => useBackend('auto'));

test('masked: a trained score decides how much of each weight stays', async () => {
  const masked: Toy = {
    ...TOY, name: 'masked', sites: attentionInputs,
    params: (s) => [{ name: 'mask_score', shape: [s.dimOut, s.dimIn], init: { kind: 'constant', value: 20 } }],
    reweight: (_, W, p) => tf.mul(W, tf.sigmoid(p.mask_score)),
    penalty: (tensors) => tf.mul(1e-3, tf.addN([...tensors.values()].map((t) => tf.sum(tf.sigmoid(t))))) as tf.Scalar,
    finish: (tensors, config) => ({ tensors: new Map([...tensors].map(([n, t]) => [n, tf.mul(tf.sub(tf.cast(tf.greater(t, 0), 'float32'), 0.5), 100)])), config }),
  };
  const b = await bench('bert-classify');
  const graft = fresh(b, masked);
  const start = active(b, masked, graft, true);
  assert.ok(maxDifference(logits(b, [start]), logits(b)) < 1e-5);
  const soft = active(b, masked, { ...randomised(graft, 1) }, true);
  for (const [name, g] of gradients(b, soft, masked)) assert.ok(norm(g) > 0, name);
  const hard = active(b, masked, toGraft(soft, graft));
  assert.ok(maxDifference(logits(b, [hard]), logits(b, [soft])) > 1e-4, 'finish stores the decision');
});

test('shared: one pair of random matrices for all sites, two vectors a site', async () => {
  const vera: Toy = {
    ...TOY, name: 'vera', sites: attentionInputs,
    params: (s) => [{ name: 'lambda_d', shape: [4], init: { kind: 'constant', value: 0.1 } }, { name: 'lambda_b', shape: [s.dimOut], init: { kind: 'zeros' } }],
    shared: (_model, _config, sites) => [
      { name: 'shared.A', shape: [4, Math.max(...sites.map((s) => s.dimIn))], init: { kind: 'kaiming', fanIn: 24 }, trainable: false },
      { name: 'shared.B', shape: [Math.max(...sites.map((s) => s.dimOut)), 4], init: { kind: 'kaiming', fanIn: 4 }, trainable: false },
    ],
    weightChange: (s, p) => ({
      A: tf.mul(tf.slice(p['shared.A'] as Tensor2D, [0, 0], [4, s.dimIn]), tf.expandDims(p.lambda_d, 1)) as Tensor2D,
      B: tf.mul(tf.slice(p['shared.B'] as Tensor2D, [0, 0], [s.dimOut, 4]), tf.expandDims(p.lambda_b, 1)) as Tensor2D, scale: 1,
    }),
  };
  const b = await bench('bert-classify');
  const graft = fresh(b, vera);
  const start = active(b, vera, graft, true);
  assert.equal(maxDifference(logits(b, [start]), logits(b)), 0);
  assert.equal([...graft.tensors.keys()].filter((n) => n.startsWith('shared.')).length, 2);
  assert.equal(start.trained.size, 2 * 2 * b.model.layers, 'the pair is not trained');
  step(b, start);
  assert.ok(maxDifference(logits(b, [start]), logits(b)) > 0);
});

test('hypernetwork: a shared generator makes every site its weights from a small code', async () => {
  const hyper: Toy = {
    ...TOY, name: 'hyper', sites: attentionInputs,
    params: () => [{ name: 'code', shape: [1, 3], init: { kind: 'normal', std: 1 } }],
    shared: (_model, _config, [site]) => [
      { name: 'shared.down', shape: [2 * site.dimIn, 3], init: { kind: 'normal', std: 0.1 } }, { name: 'shared.up', shape: [2 * site.dimOut, 3], init: { kind: 'zeros' } },
    ],
    weightChange: (s, p) => ({ A: tf.reshape(linear(p.code, p['shared.down'] as Tensor2D), [2, s.dimIn]), B: tf.reshape(linear(p.code, p['shared.up'] as Tensor2D), [s.dimOut, 2]), scale: 1 }),
  };
  const b = await bench('bert-classify');
  const graft = fresh(b, hyper);
  const start = active(b, hyper, graft, true);
  assert.equal(maxDifference(logits(b, [start]), logits(b)), 0);
  for (const [name, g] of gradients(b, active(b, hyper, randomised(graft), true))) assert.ok(norm(g) > 0, name);
});

test('routed: every row goes through the expert of its task', async () => {
  const routed: Toy = {
    ...TOY, name: 'routed', sites: ofKind('ffn.output'),
    params: (s) => ['a', 'b'].map((task) => ({ name: `expert.${task}`, shape: [s.dimOut, s.dimIn], init: { kind: 'zeros' } })),
    change({ x, base, pass }, p) {
      const gate = (task: string): Tensor => tf.reshape(tf.tensor1d(pass.route.task!.map((t) => (t === task ? 1 : 0))), [-1, 1, 1]);
      return ['a', 'b'].reduce((h, task) => tf.add(h, tf.mul(gate(task), linear(x, p[`expert.${task}`] as Tensor2D))), base(x));
    },
    unmergeable: 'it depends on the task of each row',
  };
  const b = await bench('bert-classify');
  const graft = fresh(b, routed);
  for (const [name, t] of randomised(graft).tensors) if (name.endsWith('expert.b')) graft.tensors.set(name, t);
  const mixed = active(b, routed, graft);
  const C = b.head.labels!.length;
  const changed = logits(b, [mixed], { route: { task: ['a', 'b', 'a'] } }), base = logits(b);
  const row = (values: Float32Array, i: number): Float32Array => values.slice(i * C, (i + 1) * C);
  assert.equal(maxDifference(row(changed, 0), row(base, 0)), 0);
  assert.ok(maxDifference(row(changed, 1), row(base, 1)) > 1e-3);
  assert.equal(maxDifference(row(changed, 2), row(base, 2)), 0);
});

test('growing: rank is added between steps without a jump, and the stored graft keeps it', async () => {
  const growing: Toy = {
    ...TOY, name: 'growing', sites: attentionInputs,
    params: (s) => [
      { name: 'A', shape: [1, s.dimIn], init: { kind: 'kaiming', fanIn: s.dimIn }, elastic: true }, { name: 'B', shape: [s.dimOut, 1], init: { kind: 'zeros' }, elastic: true },
      { name: 'score', shape: [], init: { kind: 'zeros' }, trainable: false },
    ],
    weightChange: (_, p) => ({ A: p.A as Tensor2D, B: p.B as Tensor2D, scale: 1 }),
    /** Sums up how much B wants to move at each site; the site that wants it most gets a rank. */
    afterBackward(call) {
      const scores = [...call.params.keys()].filter((n) => n.endsWith('.B')).map((n) => ({ site: n.slice(0, -2), score: norm(call.grads.get(n)) }));
      for (const { site, score } of scores) call.setBuffer(`${site}.score`, tf.add(call.buffers.get(`${site}.score`)!, score));
      const { site } = scores.sort((a, b) => b.score - a.score)[0];
      const A = call.params.get(`${site}.A`)!, B = call.params.get(`${site}.B`)!;
      call.setParam(`${site}.A`, tf.concat([A, tf.fill([1, A.shape[1]!], 0.1)], 0));
      call.setParam(`${site}.B`, tf.concat([B, tf.zeros([B.shape[0], 1])], 1));
      call.log({ grown: site });
    },
  };
  const b = await bench('bert-classify');
  const graft = fresh(b, growing);
  const run = active(b, growing, graft, true);
  step(b, run);
  const before = logits(b, [run]);
  const events: Record<string, unknown>[] = [];
  growing.afterBackward!(hookCall(run.tensors, { step: 1, totalSteps: 2, grads: gradients(b, run) }, events), run.config);
  run.bind();
  assert.equal(events.length, 1);
  assert.ok(maxDifference(logits(b, [run]), before) < 1e-6);
  const ranks = [...run.tensors].filter(([n]) => n.endsWith('.A')).map(([, t]) => t.shape[0]);
  assert.equal(ranks.reduce((x, y) => x + y), ranks.length + 1);
  step(b, run);
  const again = active(b, growing, toGraft(run, graft));
  assert.ok(maxDifference(logits(b, [again]), logits(b, [run])) < 1e-6);
});

test('pixel prompt: a trained image is added to the input', async () => {
  const pixels: Toy = {
    ...TOY, name: 'pixel-prompt', sites: ofKind('pixels'),
    params: () => [{ name: 'prompt', shape: [3], init: { kind: 'zeros' } }],
    change: ({ x, base }, p) => base(tf.clipByValue(tf.add(x, p.prompt), 0, 1)),
    unmergeable: 'it changes the input',
  };
  const b = await bench('resnet-basic');
  const start = active(b, pixels, fresh(b, pixels), true);
  assert.equal(maxDifference(logits(b, [start]), logits(b)), 0);
  step(b, start, 1);
  assert.ok(maxDifference(logits(b, [start]), logits(b)) > 0);
});

test('side network: reads what the blocks wrote, and nothing below the head is recorded for gradients', async () => {
  const side: Toy = {
    ...TOY, name: 'side', taps: true, sites: ofKind('logits'),
    params: (s) => [{ name: 'down', shape: [4, s.dimIn], init: { kind: 'kaiming', fanIn: s.dimIn } }, { name: 'up', shape: [3, 4], init: { kind: 'zeros' } }],
    change({ x, base, pass }, p) {
      const features = tf.mean(tf.addN([...pass.taps.values()]), 1);
      return tf.add(base(x), linear(activate(linear(features, p.down as Tensor2D), 'relu'), p.up as Tensor2D));
    },
    unmergeable: 'it is a network of its own',
  };
  const b = await bench('bert-classify');
  const graft = fresh(b, side);
  assert.equal(b.head.labels!.length, 3);
  const start = active(b, side, graft, true);
  assert.equal(start.firstTrainedLayer(b.model.sites), b.model.layers);
  assert.equal(maxDifference(logits(b, [start]), logits(b)), 0);
  const grads = gradients(b, active(b, side, randomised(graft), true));
  for (const [name, g] of grads) assert.ok(norm(g) > 0, name);
});

test('norm statistics: batch normalisation by what is in the batch, its affine part trained', async () => {
  const tented: Toy = {
    ...TOY, name: 'tented', sites: (model) => model.sites.filter((s) => s.norm?.type === 'batch' && s.role !== 'head'), params: () => [],
    replaced: (model, _config, base) => model.sites.filter((s) => s.norm?.type === 'batch' && s.role !== 'head').flatMap((s) => [s.weight!, s.bias!]).map((name) => ({ name, shape: [...base.shape(name)!], init: { kind: 'base', tensor: name } })),
    change: ({ site, x, pass }) => batchNormTrain(x as Tensor4D, pass.weight(site.weight!) as Tensor1D, pass.weight(site.bias!) as Tensor1D, site.norm!.epsilon).y,
  };
  const b = await bench('resnet-basic');
  const start = active(b, tented, fresh(b, tented), true);
  assert.ok(maxDifference(logits(b, [start]), logits(b)) > 1e-3);
  const grads = gradients(b, start);
  assert.ok([...grads.values()].some((g) => norm(g) > 0));
});

test('momentum: a slow copy follows between steps and answers outside training', async () => {
  const lae: Toy = {
    ...TOY, name: 'lae', sites: attentionInputs,
    params: (s) => [{ name: 'online', shape: [s.dimOut], init: { kind: 'zeros' } }, { name: 'offline', shape: [s.dimOut], init: { kind: 'zeros' }, trainable: false }],
    change: ({ x, base, pass }, p) => tf.add(base(x), pass.train ? p.online : p.offline),
    afterStep: (call) => call.params.forEach((v, name) => {
      const slow = name.replace(/online$/, 'offline');
      call.setBuffer(slow, tf.add(tf.mul(call.buffers.get(slow)!, 0.9), tf.mul(v, 0.1)));
    }),
  };
  const b = await bench('bert-classify');
  const run = active(b, lae, fresh(b, lae), true);
  step(b, run);
  assert.equal(maxDifference(logits(b, [run]), logits(b)), 0, 'the slow copy has not moved yet');
  lae.afterStep!(hookCall(run.tensors, { step: 1, totalSteps: 1 }), {});
  run.bind();
  const [name, online] = [...run.trained].find(([n]) => n.endsWith('value.online')) as [string, Variable];
  const offline = run.tensors.get(name.replace('online', 'offline'))!;
  assert.ok(norm(online) > 0 && Math.abs(norm(offline) / norm(online) - 0.1) < 1e-5);
  assert.ok(maxDifference(logits(b, [run]), logits(b)) > 0);
});
