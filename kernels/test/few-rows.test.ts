import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { linear, openMapped, tf, useBackend, type StorageType } from '../src/index.js';
import { agrees, random, skip, start } from './against.js';

before(start);

test('one to five rows with a matrix as it lies, in both layouts, with bias and activation', { skip }, () => {
  for (const layout of ['oi', 'io'] as const)
    for (const m of [1, 2, 3, 4, 5])
      for (const [k, n] of [[1, 1], [7, 5], [16, 130], [401, 67]]) {
        const f = (x: tf.Tensor, W: tf.Tensor, b: tf.Tensor): tf.Tensor => linear(x, W as tf.Tensor2D, b as tf.Tensor1D, { layout, activation: 'silu' });
        agrees(`${layout} ${m}×${k}×${n}`, f, [random([m, k]), random(layout === 'oi' ? [n, k] : [k, n]), random([n])], { tolerance: 2e-5 });
      }
});

/** bf16 and f16 values that are exact in both, and in float32. */
const HALVES: Record<StorageType, (v: number) => Uint8Array> = {
  F32: (v) => new Uint8Array(Float32Array.of(v).buffer),
  BF16: (v) => new Uint8Array(new Uint8Array(Float32Array.of(v).buffer).slice(2)),
  F16: (v) => new Uint8Array(Uint16Array.of(v === 0 ? 0 : (v < 0 ? 0x8000 : 0) | ((Math.floor(Math.log2(Math.abs(v))) + 15) << 10) | Math.round((Math.abs(v) / 2 ** Math.floor(Math.log2(Math.abs(v))) - 1) * 1024)).buffer),
};

test('a row gives the same bytes alone as among others', { skip }, () => {
  tf.setBackend('graft-cpu');
  tf.tidy(() => {
    for (const layout of ['oi', 'io'] as const)
      for (const [k, n] of [[5, 3], [384, 40], [1001, 131]]) {
        const [x, W, b] = [random([7, k]), random(layout === 'oi' ? [n, k] : [k, n]), random([n])].map((d) => tf.tensor(d.values, d.shape));
        const run = (rows: tf.Tensor): number[] => [...linear(rows, W as tf.Tensor2D, b as tf.Tensor1D, { layout, activation: 'gelu' }).dataSync()];
        const whole = run(x);
        for (const size of [1, 2, 3, 4]) assert.deepEqual(run(tf.slice(x, [2, 0], [size, k])), whole.slice(2 * n, (2 + size) * n), `${layout} ${k}×${n}, ${size} rows`);
      }
  });
});

test('mapped weights of each float type give what their float32 copy gives, whatever the number of threads', { skip }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-'));
  try {
    const [n, k] = [300, 253];
    const values = Array.from({ length: n * k }, (_, i) => ((i * 37) % 61 - 30) / 16);
    for (const layout of ['oi', 'io'] as const)
      for (const type of ['F32', 'BF16', 'F16'] as const) {
        writeFileSync(join(dir, type), Buffer.concat(values.map(HALVES[type])));
        const outputs: number[][] = [];
        for (const threads of [1, 2]) {
          await useBackend('cpu', { threads });
          const shape: [number, number] = layout === 'oi' ? [n, k] : [k, n];
          const file = openMapped(join(dir, type)), W = file.tensor(0, shape, type) as tf.Tensor2D;
          file.close();
          const x = tf.tensor(random([3, k]).values, [3, k]), plain = tf.tensor2d(values, shape);
          const [got, expected] = [W, plain].map((w) => [...linear(x, w, null, { layout }).dataSync()]);
          got.forEach((y, i) => assert.ok(Math.abs(y - expected[i]) < 1e-3, `${layout} ${type}: ${y} for ${expected[i]}`));
          outputs.push(got);
          W.dispose();
        }
        assert.deepEqual(outputs[0], outputs[1]);
      }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
