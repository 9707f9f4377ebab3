import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Rng, tf, useBackend } from '../src/index.js';
import { fallbackCounts, resetFallbackCounts } from '../src/fallback.js';
import { native } from '../src/native.js';

const skip = native() ? false : 'the native backend was not built';

before(async () => { if (!skip) await useBackend('cpu', { threads: 2 }); });

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
