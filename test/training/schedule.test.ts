import { scoped, tf, useBackend, type Tensor } from '@graft/kernels';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { Optimiser, type OptimiserOptions } from '../../src/training/optimiser.js';
import { schedule, warmupSteps, type ScheduleOptions } from '../../src/training/schedule.js';

before(() => useBackend('auto'));

/** What test/golden/training.py wrote. */
const golden = JSON.parse(readFileSync(new URL('../../../test/golden/training.json', import.meta.url), 'utf8')) as {
  schedules: (ScheduleOptions & { rates: number[] })[];
  optimisers: { start: number[]; grads: number[][]; norms: number[]; runs: { name: string; end: number[] }[] };
};

for (const { rates, ...o } of golden.schedules) {
  test(`${o.kind}, ${o.warmup} warm-up steps: the rates of transformers`, () => {
    const rate = schedule(o);
    rates.forEach((r, step) => assert.ok(Math.abs(rate(step) - r) <= 1e-12, `step ${step}: ${rate(step)}, expected ${r}`));
  });
}

test('a schedule that begins later ends with the others', () => {
  for (const kind of ['linear', 'cosine'] as const) {
    const o = { kind, warmup: 3, lr: 2 }, late = schedule({ ...o, totalSteps: 20 }), own = schedule({ ...o, totalSteps: 14 });
    for (let step = 0; step < 14; step++) assert.equal(late(6 + step, 6), own(step));
  }
});

test('a warm-up below 1 is a share, rounded up', () => {
  assert.equal(warmupSteps({ warmup: 0.06, totalSteps: 100 }), 6);
  assert.equal(warmupSteps({ warmup: 0.061, totalSteps: 100 }), 7);
  assert.equal(warmupSteps({ warmup: 12, totalSteps: 100 }), 12);
});

const BASE: OptimiserOptions = { kind: 'sgd', weightDecay: 0.1, beta1: 0.8, beta2: 0.95, epsilon: 1e-6, momentum: 0, nesterov: false };
const OPTIONS: Record<string, Partial<OptimiserOptions>> = { adamw: { kind: 'adamw' }, sgd: {}, 'sgd momentum': { momentum: 0.9 }, 'sgd nesterov': { momentum: 0.9, nesterov: true } };

for (const { name, end } of golden.optimisers.runs) {
  test(`${name}: six clipped steps as PyTorch takes them, resumed half-way`, () => {
    const { start, grads, norms } = golden.optimisers;
    const variable = tf.variable(tf.tensor2d(start, [3, 2]));
    const params = new Map([['w', { variable, decay: true, lrScale: 1 }]]);
    let optimiser = new Optimiser({ ...BASE, ...OPTIONS[name] });
    grads.forEach((g, i) => {
      const grad = tf.tensor2d(g, [3, 2]);
      if (i === 3) {
        const { steps, moments } = optimiser.save();
        const stored = new Map([...moments].map(([k, t]) => [k, [...t.dataSync()]]));
        optimiser.dispose();
        optimiser = new Optimiser({ ...BASE, ...OPTIONS[name] });
        optimiser.restore(steps, (key) => tf.tensor2d(stored.get(key)!, [3, 2]));
      }
      optimiser.step(params, new Map<string, Tensor>([['w', grad]]), 0.05, Math.min(1, 1 / (norms[i] + 1e-6)));
      grad.dispose();
    });
    variable.dataSync().forEach((v, i) => assert.ok(Math.abs(v - end[i]) < 1e-5, `${v}, expected ${end[i]}`));
    optimiser.dispose();
    variable.dispose();
  });
}

test('decay exemption, learning-rate scale, and parameters without a gradient', () => {
  const make = (): ReturnType<typeof tf.variable> => tf.variable(tf.ones([2]));
  const a = make(), b = make(), c = make();
  const optimiser = new Optimiser({ ...BASE, weightDecay: 0.5 });
  const g = tf.fill([2], 1);
  const params = new Map([['a', { variable: a, decay: false, lrScale: 1 }], ['b', { variable: b, decay: true, lrScale: 2 }], ['c', { variable: c, decay: true, lrScale: 1 }]]);
  optimiser.step(params, new Map<string, Tensor>([['a', g], ['b', g]]), 0.1, 1);
  assert.deepEqual([a, b, c].map((v) => Math.fround(v.dataSync()[0])), [0.9, 1 - 0.2 * 1.5, 1].map(Math.fround));
  [a, b, c, g].forEach((t) => t.dispose());
});

test('moments follow a parameter that grows', () => {
  const optimiser = new Optimiser({ ...BASE, kind: 'adamw', weightDecay: 0 });
  const before = tf.memory().numTensors;
  let variable = tf.variable(tf.ones([2, 2]));
  const step = (): void => scoped(() => optimiser.step(new Map([['w', { variable, decay: true, lrScale: 1 }]]), new Map<string, Tensor>([['w', tf.ones(variable.shape)]]), 0.1, 1));
  step();
  optimiser.resize('w', [3, 2]);
  const { moments, steps } = optimiser.save();
  assert.deepEqual([...moments.get('w#0')!.dataSync()].map((v) => v.toFixed(3)), ['0.200', '0.200', '0.200', '0.200', '0.000', '0.000']);
  assert.deepEqual(steps, { w: 1 });
  variable.dispose();
  variable = tf.variable(tf.ones([3, 2]));
  step();
  optimiser.dispose();
  variable.dispose();
  assert.ok(tf.memory().numTensors <= before + 4, 'tensors were left behind');
});
