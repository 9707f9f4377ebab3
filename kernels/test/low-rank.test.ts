import { before, test } from 'node:test';
import { lowRank, tf } from '../src/index.js';
import { agrees, gradientHolds, random, skip, start } from './against.js';

before(start);

test('the low-rank branch: values and all four gradients', { skip }, () => {
  const inputs = [random([2, 3, 20]), random([2, 3, 11]), random([4, 11]), random([20, 4])];
  const f = (h: tf.Tensor, x: tf.Tensor, A: tf.Tensor, B: tf.Tensor): tf.Tensor => lowRank(h, x, A as tf.Tensor2D, B as tf.Tensor2D, 0.5);
  agrees('lowRank', f, inputs, { tolerance: 1e-5 });
  agrees('gradients', (h, x, A, B) => tf.grads(f)([h, x, A, B]), inputs, { tolerance: 1e-4 });
  gradientHolds('lowRank', f, inputs);
});
