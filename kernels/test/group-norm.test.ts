import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { groupNorm, tf, type Tensor1D, type Tensor4D } from '../src/index.js';
import { agrees, gradientHolds, random, skip, start, type Data } from './against.js';

before(start);

const EPSILON = 1e-5;
const CASES: { x: number[]; groups: number }[] = [{ x: [2, 3, 3, 16], groups: 4 }, { x: [3, 5, 4, 12], groups: 12 }, { x: [2, 1, 1, 6], groups: 2 }, { x: [2, 8, 8, 20], groups: 1 }];

/** By the definition, with the gradients TensorFlow.js finds. */
function plain(x: Tensor4D, gamma: Tensor1D, beta: Tensor1D, groups: number): tf.Tensor {
  const [B, H, W, C] = x.shape;
  const parts = tf.reshape(x, [B, H * W, groups, C / groups]), { mean, variance } = tf.moments(parts, [1, 3], true);
  return tf.add(tf.mul(tf.reshape(tf.mul(tf.sub(parts, mean), tf.rsqrt(tf.add(variance, EPSILON))), x.shape), gamma), beta);
}

/** Images whose mean is far from 0. */
const inputs = (x: number[]): Data[] => [{ ...random(x), values: random(x).values.map((v) => Math.fround(v + 20)) }, random([x[3]]), random([x[3]], 'float32', 2)];

const run = (f: typeof plain, groups: number) => (...[x, gamma, beta]: tf.Tensor[]): tf.Tensor => f(x as Tensor4D, gamma as Tensor1D, beta as Tensor1D, groups);

test('groupNorm and its gradients equal the definition', { skip }, () => {
  for (const { x, groups } of CASES) {
    const own = run((a, g, b, n) => groupNorm(a, g, b, n, EPSILON), groups), dy = random(x);
    agrees('groupNorm', own, inputs(x), { tolerance: 1e-4 });
    tf.tidy(() => {
      const given = inputs(x).map(({ values, shape }) => tf.tensor(values, shape));
      const [expected, actual] = [run(plain, groups), own].map((f) => [f(...given), ...tf.grads(f)(given, tf.tensor(dy.values, x))]);
      actual.forEach((t, i) => assert.ok(tf.max(tf.abs(tf.sub(t, expected[i]))).dataSync()[0] < 1e-4 * (1 + tf.max(tf.abs(expected[i])).dataSync()[0]), `${x} in ${groups}: ${i}`));
    });
    gradientHolds('groupNorm', own, inputs(x).map((d, i) => (i === 0 ? random(x) : d)));
  }
});
