import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { openMapped, Rng, tf } from '../src/index.js';
import { fallbackCounts, resetFallbackCounts } from '../src/fallback.js';
import { skip, start } from './against.js';

before(start);

test('products of all transpositions, odd sizes and broadcast batches equal sums in double precision', { skip }, () => {
  resetFallbackCounts();
  const rng = new Rng(1);
  for (const [m, n, k] of [[1, 1, 1], [3, 5, 7], [15, 33, 17], [70, 65, 401], [200, 31, 1]])
    for (const [ta, tb] of [[false, false], [false, true], [true, false], [true, true]]) {
      const A = Float32Array.from({ length: 2 * m * k }, () => rng.normal());
      const B = Float32Array.from({ length: 3 * k * n }, () => rng.normal());
      const a = tf.tensor(A, ta ? [2, 1, k, m] : [2, 1, m, k]);
      const b = tf.tensor(B, tb ? [1, 3, n, k] : [1, 3, k, n]);
      const y = tf.matMul(a, b, ta, tb);
      assert.deepEqual(y.shape, [2, 3, m, n]);
      const got = y.dataSync();
      let worst = 0;
      for (let q = 0, at = 0; q < 6; q++)
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++, at++) {
            let want = 0;
            const [oa, ob] = [Math.floor(q / 3) * m * k, (q % 3) * k * n];
            for (let p = 0; p < k; p++) want += A[oa + (ta ? p * m + i : i * k + p)] * B[ob + (tb ? j * k + p : p * n + j)];
            worst = Math.max(worst, Math.abs(want - got[at]));
          }
      assert.ok(worst < 1e-4, `${m}x${n}x${k}: ${worst}`);
    }
  assert.deepEqual(fallbackCounts(), {});
});

test('f16 and bf16 operands give what their float32 values give', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-'));
  try {
    const rng = new Rng(2);
    const [m, n, k] = [37, 35, 150];
    writeFileSync(join(dir, 'halves'), Uint16Array.from({ length: m * k + k * n }, () => 0x3800 + rng.integer(0x600) + (rng.integer(2) ? 0x8000 : 0)));
    const file = openMapped(join(dir, 'halves'));
    for (const dtype of ['F16', 'BF16'] as const)
      for (const [ta, tb] of [[false, false], [false, true], [true, false], [true, true]]) {
        const a = file.tensor(0, ta ? [k, m] : [m, k], dtype);
        const b = file.tensor(2 * m * k, tb ? [n, k] : [k, n], dtype);
        const [wideA, wideB] = [a, b].map((t) => tf.tensor(t.dataSync(), t.shape));
        assert.deepEqual(tf.matMul(a, b, ta, tb).dataSync(), tf.matMul(wideA, wideB, ta, tb).dataSync(), `${dtype} ${ta} ${tb}`);
      }
    file.close();
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('fused products: broadcast bias and activations', { skip }, () => {
  resetFallbackCounts();
  const a = tf.tensor3d(Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)), [2, 3, 4]);
  const b = tf.tensor3d(Float32Array.from({ length: 40 }, (_, i) => Math.cos(i)), [2, 4, 5]);
  const bias = tf.tensor1d([1, -1, 0, 2, -2]);
  const plain = tf.add(tf.matMul(a, b), bias);
  for (const [activation, f] of [['linear', (x: tf.Tensor) => x], ['relu', tf.relu], ['elu', tf.elu], ['relu6', tf.relu6], ['sigmoid', tf.sigmoid]] as const)
    assert.deepEqual(tf.fused.matMul({ a, b, bias, activation }).dataSync(), f(plain).dataSync(), activation);
  const leaky = tf.fused.matMul({ a, b, bias, activation: 'leakyrelu', leakyreluAlpha: 0.3 });
  assert.deepEqual(leaky.dataSync(), tf.leakyRelu(plain, 0.3).dataSync());
  const weights = tf.tensor1d([0.1, 0.2, 0.3, 0.4, 0.5]);
  const prelu = tf.fused.matMul({ a, b, bias, activation: 'prelu', preluActivationWeights: weights });
  assert.deepEqual(prelu.dataSync(), tf.prelu(plain, weights).dataSync());
  assert.deepEqual(fallbackCounts(), {});
});
