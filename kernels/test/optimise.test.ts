import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { adamwStep, adamwSteps, openMapped, sgdStep, sumOfSquares, tf } from '../src/index.js';
import { agrees, BACKEND, random, skip, start } from './against.js';

before(start);

const inputs = [random([7, 33]), random([7, 33], 'float32', 0.5)];
type Step = (param: tf.Variable, grad: tf.Tensor, moments: tf.Variable[], step: number) => void;

/** Everything an optimiser holds after three steps. */
const after = (update: Step) => (x: tf.Tensor, g: tf.Tensor): tf.Tensor[] => {
  const param = tf.variable(x);
  const moments = [0, 1].map(() => tf.variable(tf.zeros(x.shape)));
  for (let step = 1; step <= 3; step++) update(param, tf.mul(g, step), moments, step);
  return [param, ...moments].map((t) => tf.clone(t));
};

test('AdamW and SGD steps are those of the reference', { skip }, () => {
  const adam = { lr: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.01 };
  agrees('AdamW', after((p, g, [m, v], step) => adamwStep(p, g, m, v, { ...adam, step }, 0.7)), inputs, { tolerance: 1e-5 });
  for (const [momentum, nesterov] of [[0, false], [0.9, false], [0.9, true]] as const)
    agrees(`SGD ${momentum} ${nesterov}`, after((p, g, [m], step) => sgdStep(p, g, m, { lr: 0.1, momentum, nesterov, weightDecay: 0.01, step }, 0.7)), inputs, { tolerance: 1e-5 });
});

test('many tensors of different sizes, rates and ages take their AdamW steps together', { skip }, () => {
  const sizes = [1, 1024, 0, 3001, 7];
  agrees('AdamW of many', (...t) => {
    const all = sizes.map((_, i) => ({
      param: tf.variable(t[i]), grad: t[i + sizes.length], m: tf.variable(tf.mul(t[i], 0.1)), v: tf.variable(tf.square(t[i])), gradScale: 0.5,
      options: { lr: 0.1 / (i + 1), beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.01 * i, step: i + 1 },
    }));
    adamwSteps(all);
    adamwSteps([]);
    return all.flatMap(({ param, m, v }) => [param, m, v].map((x) => tf.clone(x)));
  }, [...sizes.map((n) => random([n])), ...sizes.map((n) => random([n], 'float32', 0.3))], { tolerance: 1e-5 });
});

test('a step changes neither tensors that share the memory of the variable nor mapped weights', { skip }, () => {
  tf.setBackend(BACKEND);
  const dir = mkdtempSync(join(tmpdir(), 'graft-'));
  try {
    writeFileSync(join(dir, 'w'), Float32Array.of(1, 2));
    const file = openMapped(join(dir, 'w'));
    for (const start of [tf.tensor1d([1, 2]), file.tensor(0, [2], 'F32')]) {
      const param = tf.variable(start);
      sgdStep(param, tf.tensor1d([1, 1]), param, { lr: 1, momentum: 0, nesterov: false, weightDecay: 0, step: 1 });
      assert.deepEqual([...param.dataSync()], [0, 1]);
      assert.deepEqual([...start.dataSync()], [1, 2]);
      start.dispose();
      sgdStep(param, tf.tensor1d([1, 1]), param, { lr: 1, momentum: 0, nesterov: false, weightDecay: 0, step: 2 });
      assert.deepEqual([...param.dataSync()], [-1, 0]);
    }
    file.close();
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('squares are summed over all tensors', { skip }, () => {
  tf.setBackend(BACKEND);
  assert.ok(Math.abs(sumOfSquares([tf.fill([40000], 0.01), tf.tensor1d([3, 4])]).dataSync()[0] - 29) < 1e-4);
  assert.equal(sumOfSquares([]).dataSync()[0], 0);
  // Tensors of all sizes, an empty one and one twice; a kept difference in the last of many blocks.
  const values = [1, 0, 7, 1023, 1024, 65537, 200001].map((n, k) => Float32Array.from({ length: n }, (_, i) => Math.sin(i + k)));
  const want = [...values, values[5]].reduce((sum, v) => v.reduce((s, x) => s + x * x, sum), 0), given = values.map((v) => tf.tensor1d(v));
  const found = sumOfSquares([...given, given[5]]).dataSync()[0];
  assert.ok(Math.abs(found / want - 1) < 1e-6, `${found}, not ${want}`);
  const last = values[6].slice();
  last[200000] += 30;
  assert.ok(Math.abs(sumOfSquares([tf.tensor1d(last)]).dataSync()[0] / last.reduce((s, x) => s + x * x, 0) - 1) < 1e-6);
  assert.ok(Number.isNaN(sumOfSquares([given[0], tf.tensor1d([Number.NaN])]).dataSync()[0]));
});
