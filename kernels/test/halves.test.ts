import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linear, openMapped, tf, useBackend } from '../src/index.js';
import { native } from '../src/native.js';
import { random, skip, start } from './against.js';

const dir = mkdtempSync(join(tmpdir(), 'graft-'));
before(start);
after(async () => {
  rmSync(dir, { recursive: true });
  if (!skip) await useBackend('cpu');
});

/** To the nearest bf16, ties to the even one. */
function rounded(x: number): number {
  const bits = new Int32Array(Float32Array.of(x).buffer);
  if (!Number.isNaN(x)) bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0];
}

function frozen(values: Float32Array, shape: [number, number], storage: 'F32' | 'BF16' | 'F16' = 'F32'): tf.Tensor2D {
  const path = join(dir, 'w');
  writeFileSync(path, storage === 'F32' ? values : Uint16Array.from(values, (v) => (storage === 'BF16' ? new Int32Array(Float32Array.of(v).buffer)[0] >>> 16 : f16(v))));
  const file = openMapped(path), W = file.tensor(0, shape, storage) as tf.Tensor2D;
  file.close();
  return W;
}

/** Normal values whose fraction fits. */
function f16(x: number): number {
  const bits = new Int32Array(Float32Array.of(x).buffer)[0];
  return ((bits >>> 16) & 0x8000) | ((((bits >>> 23) & 255) - 112) << 10) | ((bits >>> 13) & 1023);
}

/** Products of rounded values in double precision: x [m, k], w [out, k] or [k, out]. */
function expected(x: Float32Array, w: Float32Array, m: number, k: number, out: number, oi: boolean): { sum: Float64Array; size: Float64Array } {
  const sum = new Float64Array(m * out), size = new Float64Array(m * out), [a, b] = [x.map(rounded), w.map(rounded)];
  for (let i = 0; i < m; i++)
    for (let j = 0; j < out; j++)
      for (let p = 0; p < k; p++) {
        const term = a[i * k + p] * b[oi ? j * k + p : p * out + j];
        sum[i * out + j] += term;
        size[i * out + j] += Math.abs(term);
      }
  return { sum, size };
}

function close(what: string, got: tf.Tensor, { sum, size }: { sum: Float64Array; size: Float64Array }): void {
  got.dataSync().forEach((v, i) => assert.ok(Math.abs(v - sum[i]) <= 2e-6 * size[i] + 1e-30, `${what} [${i}]: ${v}, not ${sum[i]}`));
}

test('bf16 products of frozen weights: operands rounded to the nearest, sums in f32, both layouts and directions', { skip }, async () => {
  await useBackend('cpu', { precision: 'bf16' });
  for (const [m, k, out] of [[1, 1, 1], [3, 7, 5], [4, 65, 33], [15, 128, 64], [29, 769, 47], [70, 1541, 200]])
    for (const layout of ['oi', 'io'] as const) {
      const oi = layout === 'oi', x = Float32Array.from(random([m, k]).values), w = Float32Array.from(random([k, out]).values);
      const W = frozen(w, oi ? [out, k] : [k, out]), dy = tf.tensor2d(random([m, out]).values, [m, out]);
      close(`x W ${m} ${k} ${out} ${layout}`, linear(tf.tensor2d(x, [m, k]), W, null, { layout }), expected(x, w, m, k, out, oi));
      const dx = tf.grad((t: tf.Tensor) => linear(t, W, null, { layout }))(tf.tensor2d(x, [m, k]), dy);
      close(`dy W ${m} ${k} ${out} ${layout}`, dx, expected(Float32Array.from(dy.dataSync()), w, m, out, k, !oi));
      W.dispose();
    }
});

test('bf16 products: stored halves, bias and activation, NaN, infinity and large values', { skip }, async () => {
  await useBackend('cpu', { precision: 'bf16' });
  const [m, k, out] = [5, 40, 17], x = Float32Array.from(random([m, k]).values), w = Float32Array.from(random([out, k]).values, (v) => rounded(v + Math.sign(v) * 0.01)), bias = tf.tensor1d(random([out]).values);
  const want = linear(tf.tensor2d(x, [m, k]), frozen(w, [out, k]), bias, { activation: 'relu' }).dataSync();
  for (const storage of ['BF16', 'F16'] as const) assert.deepEqual(linear(tf.tensor2d(x, [m, k]), frozen(w, [out, k], storage), bias, { activation: 'relu' }).dataSync(), want, storage);
  x.set([NaN, Infinity, -3e38, 3.3e38, -NaN], 0);
  const odd = frozen(Float32Array.from({ length: k * k }, (_, i) => (i % (k + 1) === 0 ? 1 : 0)), [k, k]);
  const [row] = tf.unstack(linear(tf.tensor2d(x, [m, k]), odd));
  assert.ok(row.dataSync().every(Number.isNaN), 'a NaN reaches every sum of its row');
  x.set([1, Infinity, -3e38, 3.3e38, 1], 0);
  const one = linear(tf.tensor2d(x, [m, k]), frozen(new Float32Array(k).fill(1), [1, k])).dataSync();
  assert.equal(one[0], Infinity);
  assert.ok(Number.isFinite(one[1]));
});

test('bf16 products round where no packed copy can be kept as well: the same memory under another shape', { skip }, async () => {
  await useBackend('cpu', { precision: 'bf16' });
  const w = Float32Array.from(random([64, 64]).values), W = frozen(w, [64, 64]), [m, k, out] = [70, 128, 32], x = Float32Array.from(random([m, k]).values);
  tf.dispose(linear(tf.tensor2d(x.subarray(0, 64 * 64), [64, 64]), W));
  close('reshaped', linear(tf.tensor2d(x, [m, k]), tf.reshape(W, [out, k])), expected(x, w, m, k, out, true));
});

test('precision bf16 is for frozen weights alone, and ends with the next choice of a backend', { skip }, async () => {
  await useBackend('cpu', { precision: 'bf16' });
  const values = random([64, 64]).values, W = frozen(Float32Array.from(values), [64, 64]), v = tf.tensor2d(values, [64, 64]), x = tf.tensor2d(random([9, 64]).values, [9, 64]);
  const half = linear(x, W).dataSync(), whole = linear(x, v).dataSync();
  assert.notDeepEqual(half, whole);
  await useBackend('cpu');
  assert.deepEqual(linear(x, W).dataSync(), whole);
  assert.ok((tf.backend().memory() as unknown as { packed: number }).packed >= 64 * 64 * 4, 'the rounded copy is beside the exact one');
});

test('bf16 on the other instruction sets', { skip: skip || (process.env.GRAFT_ISA ? 'one of them' : false) }, () => {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env; // with it, the child would take itself for a part of this run
  for (const isa of native()!.isa() > 0 ? ['base', 'avx2'] : []) {
    const { stdout } = spawnSync(process.execPath, ['--test', fileURLToPath(import.meta.url)], { env: { ...env, GRAFT_ISA: isa }, encoding: 'utf8' });
    assert.match(stdout, /# fail 0[^]*# skipped 1/, `${isa}: ${stdout}`);
  }
});

test('graft-cpu has no tf32 products, and says so', { skip }, async () => {
  await assert.rejects(useBackend('cpu', { precision: 'tf32' }), /^Error: backend 'cpu' has no tf32, which is of the tensor cores of GPUs: leave out --precision tf32, or give --backend cuda$/);
});

test('wasm has no bf16 products, and says so', async () => {
  await assert.rejects(useBackend('wasm', { precision: 'bf16' }), /backend 'wasm' multiplies in f32 only: leave out --precision bf16/);
});
