import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { linear, lowRank, tf, variableGradients } from '../src/index.js';
import { BACKEND, random, skip, start } from './against.js';

before(start);

test('what several layers send to one tensor adds up, in whichever of them the sum is formed', { skip }, () => {
  tf.setBackend(BACKEND);
  const made = (shape: number[]): tf.Tensor2D => tf.tensor2d(random(shape).values, shape as [number, number]);
  const v = tf.variable(made([5, 8])), [W, U, A, B] = [[8, 8], [8, 8], [3, 8], [8, 3]].map(made);
  const f = (): tf.Scalar => {
    const x = tf.tanh(v), h = linear(x, W);
    return tf.sum(tf.square(tf.add(tf.mul(lowRank(h, x, A, B, 0.7), linear(x, U, null, { activation: 'gelu' })), x))) as tf.Scalar;
  };
  const want = tf.variableGrads(f, [v]).grads[v.name].dataSync(), got = variableGradients(f, [v]).grads.get(v)!.dataSync();
  got.forEach((g, i) => assert.ok(Math.abs(g - want[i]) <= 1e-4 * (1 + Math.abs(want[i])), `${g}, not ${want[i]}`));
});
