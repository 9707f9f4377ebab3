import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { tf, useBackend } from '../src/index.js';
import { product } from '../src/ops/product.js';
import { agrees, random, skip, start } from './against.js';

before(start);

/** [m, k, n] that are computed in place: few columns, few rows, few columns of a transposed operand. */
const SIZES = [[70, 64, 1], [130, 401, 8], [200, 800, 17], [97, 384, 32], [5, 401, 64], [8, 1000, 128], [32, 385, 192], [128, 900, 8], [64, 385, 31]];

test('products of few rows or columns, in every layout, with addend and bias', { skip }, () => {
  for (const [m, k, n] of SIZES)
    for (const transposeA of [false, true])
      for (const transposeB of [false, true]) {
        const f = (a: tf.Tensor, b: tf.Tensor, add: tf.Tensor, bias: tf.Tensor): tf.Tensor => (tf.getBackend() === 'cpu'
          ? tf.add(tf.add(tf.mul(0.5, tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D, transposeA, transposeB)), add), bias)
          : product(a, b, { transposeA, transposeB, alpha: 0.5 }, add, bias));
        agrees(`${m}×${k}×${n} ${transposeA} ${transposeB}`, f, [random(transposeA ? [k, m] : [m, k]), random(transposeB ? [n, k] : [k, n]), random([m, n]), random([n])], { tolerance: 3e-5 });
      }
});

test('they give the bytes that wider products give, with any number of threads', { skip }, async () => {
  for (const threads of [1, 2]) {
    await useBackend('cpu', { threads });
    tf.tidy(() => {
      for (const [m, k, n] of SIZES) {
        const columns = Math.max(n, 40), rows = Math.max(m, 40); // beyond kThin
        const [a, b] = [tf.tensor2d(random([rows, k]).values, [rows, k]), tf.tensor2d(random([k, columns]).values, [k, columns])];
        const want = tf.slice(tf.matMul(a, b), [0, 0], [m, n]).dataSync();
        const [x, y] = [tf.slice(a, [0, 0], [m, k]), tf.slice(b, [0, 0], [k, n])];
        assert.deepEqual(product(x, y).dataSync(), want, `${m}×${k}×${n}`);
        assert.deepEqual(product(tf.transpose(x), y, { transposeA: true }).dataSync(), want, `${m}×${k}×${n}, transposed`);
      }
    });
  }
});
