import { Rng, tf, useBackend, type Tensor, type Tensor2D, type Variable } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ActiveGraft } from '../../src/adapters/active.js';
import type { Method } from '../../src/adapters/method.js';
import { targetSites } from '../../src/adapters/targets.js';
import { Forward, type ForwardOptions } from '../../src/models/forward.js';
import type { Model } from '../../src/models/model.js';
import type { Site } from '../../src/models/site.js';
import type { Example, Objective, Preparation } from '../../src/objectives/objective.js';
import { totalLoss } from '../../src/objectives/scored.js';
import { restore, snapshot } from '../../src/training/checkpoint.js';
import type { LogEvent } from '../../src/training/log.js';
import { Loop, type LoopOptions } from '../../src/training/loop.js';
import { Optimiser } from '../../src/training/optimiser.js';
import { active, bench, fresh, norm } from '../adapters/support.js';

before(() => useBackend('auto'));

const D = 6, C = 3;
interface Point extends Example { x: number[]; y: number }

/** Points whose class is the largest of their first three coordinates. */
const points: Point[] = Array.from({ length: 64 }, (_, i) => {
  const rng = new Rng('points', i);
  const x = Array.from({ length: D }, () => rng.normal());
  return { length: 1, x, y: x.slice(0, C).indexOf(Math.max(...x.slice(0, C))) };
});

const objective = {
  batch: (examples: readonly Point[]) => ({ inputs: { x: tf.tensor2d(examples.map((e) => e.x)) }, targets: { count: examples.length, labels: Int32Array.from(examples, (e) => e.y) } }),
  loss: totalLoss,
} as unknown as Objective;

const blank: Method = { name: 'toy', summary: '', paper: null, options: {}, sites: () => [], params: () => [] };

/** logits = Σ_k x W_k over the matrices whose names begin with w. */
function setUp(method: Partial<Method>, o: Partial<LoopOptions> = {}, start = 0.1): { graft: ActiveGraft; loop: Loop; optimiser: Optimiser; events: LogEvent[] } {
  const w = tf.tidy(() => tf.fill([D, C], start));
  const graft = new ActiveGraft({ ...blank, ...method }, {}, { sites: [] } as unknown as Model, null, new Map([['w', tf.variable(w)]]), new Map());
  w.dispose();
  const logits = ({ x }: { x: Tensor2D }): Tensor => [...graft.tensors].filter(([n]) => n.startsWith('w')).map(([, t]) => tf.matMul(x, t as Tensor2D)).reduce((a, b) => tf.add(a, b));
  const events: LogEvent[] = [];
  const optimiser = new Optimiser({ kind: 'adamw', weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, momentum: 0, nesterov: false });
  const p = { runtime: { forward: () => ({}), logitsOf: (_: unknown, ...batch: Parameters<typeof logits>) => logits(...batch), grafts: [graft], checkpoint: { names: () => [] } }, options: {} } as unknown as Preparation;
  const loop = new Loop(objective, points, p, graft, optimiser, { batchSize: 16, seed: 0, totalSteps: 20, accumulate: 1, clip: 0, rate: () => 0.05, ...o }, (e) => events.push(e));
  return { graft, loop, optimiser, events };
}

const weights = (graft: ActiveGraft, name = 'w'): number[] => [...graft.tensors.get(name)!.dataSync()];

test('the loss falls, and no step leaves tensors behind', () => {
  const { loop } = setUp({});
  const first = loop.step(0).loss;
  const tensors = tf.memory().numTensors;
  let last = first;
  for (let step = 1; step < 20; step++) last = loop.step(step).loss;
  assert.ok(last < 0.7 * first, `${first} → ${last}`);
  assert.equal(tf.memory().numTensors, tensors);
});

test('accumulated micro-batches are one batch, though they differ in size', () => {
  const whole = setUp({}, { batchSize: 64, shuffle: false }), parts = setUp({}, { batchSize: 24, accumulate: 3, shuffle: false });
  for (let step = 0; step < 3; step++) assert.ok(Math.abs(whole.loop.step(step).loss - parts.loop.step(step).loss) < 1e-6);
  const expected = weights(whole.graft);
  weights(parts.graft).forEach((v, i) => assert.ok(Math.abs(v - expected[i]) < 1e-5));
});

test('a hook that zeroes gradients keeps entries as they are', () => {
  const mask = Array.from({ length: D * C }, (_, i) => (i % 2 ? 1 : 0));
  const { loop, graft } = setUp({ afterBackward: ({ grads }) => { grads.set('w', tf.mul(grads.get('w')!, tf.tensor2d(mask, [D, C]))); } });
  loop.step(0);
  const tensors = tf.memory().numTensors;
  for (let step = 1; step < 6; step++) loop.step(step);
  weights(graft).forEach((v, i) => assert.equal(v !== Math.fround(0.1), mask[i] === 1, `entry ${i}: ${v}`));
  assert.equal(tf.memory().numTensors, tensors, 'replaced gradients are freed');
});

test('a hook grows, adds and removes tensors; moments and gradients follow', () => {
  const grow: Partial<Method> = {
    afterBackward: ({ step, params, setParam, setBuffer, log }) => {
      if (step === 2) setParam('w2', tf.zeros([D, C]), { lrScale: 0.5, decay: false });
      if (step === 3) setBuffer('mean', tf.mean(params.get('w')!));
      if (step === 4) log({ ranks: 2 });
      if (step === 5) setParam('w2', null);
    },
  };
  const { loop, graft, optimiser, events } = setUp(grow);
  loop.step(0);
  const tensors = tf.memory().numTensors;
  loop.step(1);
  assert.deepEqual(weights(graft, 'w2'), Array(D * C).fill(0), 'no gradient reached it yet');
  loop.step(2);
  assert.ok(weights(graft, 'w2').some((v) => v !== 0));
  assert.deepEqual(optimiser.save().steps, { w: 3, w2: 1 });
  assert.equal(graft.specs.get('w2')!.lrScale, 0.5);
  assert.deepEqual([...graft.trained.keys()].sort(), ['w', 'w2'], 'a buffer is not trained');
  loop.step(3);
  loop.step(4);
  assert.deepEqual([...graft.tensors.keys()].sort(), ['mean', 'w']);
  assert.deepEqual(events, [{ event: 'method', step: 4, method: 'toy', ranks: 2 }]);
  assert.equal(tf.memory().numTensors, tensors + 1, 'the buffer alone is new');
});

test('a tensor added later starts the schedule of its own', () => {
  const { loop, graft } = setUp({ afterBackward: ({ step, setParam }) => { if (step === 3) setParam('w2', tf.zeros([D, C]), { since: step }); } }, { rate: (step, since = 0) => (step - since) / 1000 });
  for (let step = 0; step < 4; step++) loop.step(step);
  assert.deepEqual(weights(graft, 'w2'), Array(D * C).fill(0), 'at a rate of zero first');
  loop.step(4);
  const longest = Math.max(...weights(graft, 'w2').map(Math.abs));
  assert.ok(longest > 8e-4 && longest < 1.2e-3, `${longest}: Adam's steps are about as long as the rate`);
  assert.deepEqual(snapshot(graft).trained.w2, { decay: undefined, lrScale: undefined, since: 3 });
});

for (const [name, targetModules] of [['bert-classify', ['query', 'output.dense']], ['gpt2-classify', ['c_attn']], ['resnet-basic', ['/.*layer\\.\\d\\.convolution/']]] as const) {
  test(`a method may ask for the gradient of the weight change: ${name}`, async () => {
    const b = await bench(name);
    // With A the identity ΔW is B itself.
    const width = (s: Site): number => s.dimIn * (s.conv?.kernel ?? []).reduce((x, y) => x * y, 1);
    const whole: Method = {
      ...blank, sites: (model) => targetSites(model, { targetModules }), weightGradients: true,
      params: (s) => [{ name: 'B', shape: [s.dimOut, width(s)], init: { kind: 'zeros' } }],
      weightChange: (s, p) => ({ A: tf.eye(width(s)) as Tensor2D, B: p.B as Tensor2D, scale: 1 }),
      afterBackward: ({ grads, weightGrads }) => {
        assert.equal(weightGrads.size, grads.size);
        for (const [site, G] of weightGrads) {
          const expected = grads.get(`${site}.B`)!;
          assert.deepEqual(G.shape, expected.shape);
          assert.ok(norm(expected) > 0 && norm(tf.sub(G, expected)) < 1e-5 * norm(expected), site);
        }
        seen += weightGrads.size;
      },
    };
    let seen = 0;
    const graft = active(b, whole, fresh(b, whole), true);
    const runtime = {
      grafts: [graft],
      forward: (options: ForwardOptions) => new Forward(b.model.sites, b.checkpoint, [graft], options),
      logitsOf: (f: Forward, inputs: typeof b.batch) => b.model.logits(f, b.model.backbone(f, inputs), b.head),
    };
    const task = { batch: () => ({ inputs: { ...b.batch }, targets: { count: 1 } }), loss: (z: Tensor) => tf.sum(tf.square(z)) } as unknown as Objective;
    const optimiser = new Optimiser({ kind: 'sgd', weightDecay: 0, beta1: 0, beta2: 0, epsilon: 0, momentum: 0, nesterov: false });
    const loop = new Loop(task, points, { runtime, options: {} } as unknown as Preparation, graft, optimiser, { batchSize: 8, seed: 0, totalSteps: 1, accumulate: 1, clip: 0, rate: () => 0 }, () => {});
    loop.step(0);
    assert.ok(seen > 0);
    b.checkpoint.close();
  });
}

test('a resized tensor trains on in the step that resized it', () => {
  const { loop, graft, optimiser } = setUp({
    afterBackward: ({ step, params, setParam }) => { if (step === 2) setParam('w', tf.concat([params.get('w')!, tf.zeros([1, C])])); },
  });
  loop.step(0);
  loop.step(1);
  assert.deepEqual(graft.tensors.get('w')!.shape, [D + 1, C]);
  assert.deepEqual(optimiser.save().moments.get('w#0')!.shape, [D + 1, C]);
  assert.deepEqual(weights(graft).slice(-C), [0, 0, 0]);
  assert.ok(weights(graft).slice(0, -C).every((v) => v !== 0));
});

test('a snapshot brings back tensors that came, went or changed, and what is trained of them', () => {
  const { loop, graft } = setUp({});
  loop.step(0);
  const tensor = tf.ones([2]);
  graft.tensors.set('w2', tf.variable(tf.zeros([D, C])) as Variable);
  graft.tensors.set('mask', tf.keep(tensor));
  const kept = snapshot(graft), values = weights(graft);
  loop.step(1);
  graft.tensors.get('w2')!.dispose();
  graft.tensors.delete('w2');
  restore(graft, kept);
  assert.deepEqual(weights(graft), values);
  assert.deepEqual([...graft.trained.keys()].sort(), ['w', 'w2']);
  assert.deepEqual(weights(graft, 'mask'), [1, 1]);
});

test('clipping bounds the gradient and leaves the reported norm', () => {
  const clipped = setUp({}, { clip: 1e-3 }), free = setUp({});
  const a = clipped.loop.step(0), b = free.loop.step(0);
  assert.equal(a.gradNorm, b.gradNorm);
  assert.ok(a.gradNorm > 1e-3);
});

test('a penalty is part of the loss once a step', () => {
  const penalty: Method['penalty'] = (params) => tf.mul(tf.sum(tf.square(params.get('w')!)), 2);
  const plain = setUp({}, { batchSize: 16, accumulate: 4 }), with_ = setUp({ penalty }, { batchSize: 16, accumulate: 4 });
  assert.ok(Math.abs(with_.loop.step(0).loss - plain.loop.step(0).loss - 2 * D * C * 0.01) < 1e-5);
});

test('a loss that is no number stops the run with the step', () => {
  const { loop } = setUp({}, {}, NaN);
  assert.throws(() => loop.step(6), /step 7: the loss is NaN; a lower --lr/);
});

test('what a method adds for a batch counts in the share the batch has', () => {
  const losses = [{}, { auxiliary: () => tf.scalar(2) }].map((method) => setUp(method, { accumulate: 3, batchSize: 10 }).loop.step(0).loss);
  assert.ok(Math.abs(losses[1] - losses[0] - 2) < 1e-5);
});
