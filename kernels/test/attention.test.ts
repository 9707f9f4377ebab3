import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { attention, dropoutMask, tf, useBackend, type Tensor4D } from '../src/index.js';
import { agrees, BACKEND, gradientHolds, NAME, random, skip, start } from './against.js';
import { CASES, HIDDEN, inputs, name, padded, ragged, ROOM, run, type Case } from './attention-cases.js';

before(start);

test('attention equals its reference', { skip }, () => {
  for (const c of [...CASES, ...HIDDEN, ...ROOM]) agrees(name(c), run(c), inputs(c), { tolerance: 2e-6 });
});

test('its gradients equal those of the reference', { skip }, () => {
  for (const c of [...CASES, ...HIDDEN]) {
    const dy = random([c.B, c.Tq, c.H, c.dh], 'float32', 0.5);
    agrees(`gradients of ${name(c)}`, (...t) => tf.grads(run(c))(t, tf.tensor(dy.values, dy.shape)), inputs(c), { tolerance: 1e-5 });
  }
});

test('texts one after another give what each gives alone', { skip }, () => {
  tf.setBackend(BACKEND);
  const lengths = [4, 11, 2], c = ragged(lengths, { H: 4, Hkv: 2, dh: 8, causal: true });
  tf.tidy(() => {
    const [q, k, v] = inputs(c).map((d) => tf.tensor(d.values, d.shape as [number, number, number, number]) as Tensor4D);
    const whole = [...run(c)(q, k, v).dataSync()];
    const parts = [q, k, v].map((t) => tf.split(t, lengths, 1) as Tensor4D[]);
    assert.deepEqual(whole, lengths.flatMap((_, b) => [...attention(parts[0][b], parts[1][b], parts[2][b], { causal: true }).dataSync()]));
  });
});

test('lengths that do not add up are refused', { skip }, () => {
  tf.setBackend(BACKEND);
  const t = tf.zeros([1, 5, 1, 4]) as Tensor4D;
  assert.throws(() => attention(t, t, t, { lengths: [2, 4] }), /texts of 6 keys and 6 queries in q of shape \[1,5,1,4\]/);
  assert.throws(() => attention(t, t, t, { lengths: [5, 0] }), /the starts of 2 texts are wrong/);
  assert.throws(() => attention(t, t, t, { lengths: [2, 3], queries: [1, 1] }), /5 keys and 2 queries in q/);
  assert.throws(() => attention(t, t, t, { lengths: [2, 3], queries: [3, 2] }), /the starts of 2 texts are wrong/);
});

test('more keys than there is room for are refused', { skip }, () => {
  tf.setBackend(BACKEND);
  const t = tf.zeros([2, 5, 1, 4]) as Tensor4D;
  for (const filled of [[5, 6], [0, 5], [5]]) assert.throws(() => attention(t, t, t, { filled }), /the filled keys of 2 rows are wrong/);
});

test('large scores do not overflow', { skip }, () => {
  const c = { B: 1, Tq: 4, Tk: 200, H: 1, Hkv: 1, dh: 8, scale: 100 };
  agrees('large', run(c), inputs(c), { tolerance: 1e-4 });
});

test('an input whose gradient is not asked for costs none', { skip }, () => {
  const c = CASES[2];
  agrees('gradient of v alone', (q, k, v) => tf.grad((w: tf.Tensor) => run(c)(q, k, w))(v), inputs(c), { tolerance: 1e-5 });
});

test('with dropped weights the gradients are those of finite differences', { skip }, () => {
  tf.setBackend(BACKEND);
  const c: Case = { B: 2, Tq: 6, Tk: 9, H: 2, Hkv: 1, dh: 4, causal: true, mask: padded(9, 6)(9), rate: 0.4 };
  gradientHolds('dropped', run(c), inputs(c));
});

test('weights are dropped at the rate whatever the number of threads, independently from row to row, and the mean over masks is the whole', { skip }, async () => {
  const [B, T, H] = [4, 64, 4];
  // With v the identity and equal scores the result is the weights themselves, dropped: 0 or 1/(T·keep).
  const [q, k] = [tf.zeros([B, T, H, T]), tf.zeros([B, T, H, T])] as Tensor4D[];
  const v = tf.tile(tf.reshape(tf.eye(T), [1, T, 1, T]), [B, 1, H, 1]) as Tensor4D;
  const weights = (seed: number): Float32Array => attention(q, k, v, { dropout: dropoutMask(0.25, seed) }).dataSync() as Float32Array;
  const first = weights(0).slice();
  await useBackend(NAME, { threads: 1 });
  assert.deepEqual(weights(0), first);
  const n = first.length, near = (value: number, want: number): void => assert.ok(Math.abs(value - want) < 5 * Math.sqrt(want * (1 - want) / n), `${value}, not ${want}`);
  const share = (f: (i: number) => boolean): number => first.reduce((sum, _, i) => sum + Number(f(i)), 0) / n;
  near(share((i) => first[i] === 0), 0.25);
  for (const step of [1, 2, T, H * T, T * H * T]) near(share((i) => first[i] === 0 && first[(i + step) % n] === 0), 0.0625);
  const seeds = 64, mean = new Float64Array(n);
  for (let s = 0; s < seeds; s++) weights(s).forEach((w, i) => { mean[i] += w * T / seeds; });
  const spread = Math.sqrt(mean.reduce((sum, m) => sum + (m - 1) ** 2, 0) / n), expected = Math.sqrt(0.25 / 0.75 / seeds);
  assert.ok(Math.abs(spread / expected - 1) < 0.03, `spread ${spread}, not ${expected}`);
});
