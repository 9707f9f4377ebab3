// Weights as codes of 8 and of 4 bits, against bitsandbytes' (../../test/golden/codes.py).
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import { linear, openMapped, tf, useBackend, variableGradients, type Precision, type Scalar, type Tensor1D, type Tensor2D } from '../src/index.js';
import type { GraftBackend } from '../src/backend.js';
import { NAME, random, skip } from './against.js';

interface Golden {
  rows: number; columns: number;
  nf4: { codes: string; values: number[]; magnitudes: string };
  int8: { rows: number; codes: string; scales: string };
}
const golden = JSON.parse(readFileSync(fileURLToPath(new URL('../../../test/golden/codes.json', import.meta.url)), 'utf8')) as Golden;
const { rows, columns } = golden, bytes = (text: string): Buffer => Buffer.from(text, 'base64');
const floats = (text: string): Float32Array => new Float32Array(Uint8Array.from(bytes(text)).buffer);

/** Whole numbers over 512, times powers of two. */
const WEIGHT = Float32Array.from({ length: rows * columns }, (_, i) => ((Number((BigInt(i) * 2654435761n) % (1n << 32n)) >>> 21) - 1024) / 512 * 2 ** (Math.floor(i / 64) % 5));

const folder = mkdtempSync(join(tmpdir(), 'graft-'));
after(() => rmSync(folder, { recursive: true }));

/** A frozen matrix with these values. */
function withMapped(values: Float32Array, shape: [number, number], f: (W: Tensor2D) => void): void {
  const path = join(folder, 'w');
  writeFileSync(path, values);
  const file = openMapped(path);
  try {
    tf.tidy(() => f(file.tensor(0, shape, 'F32') as Tensor2D));
  } finally {
    file.close();
  }
}

const backend = (): GraftBackend => tf.backend() as GraftBackend;

/** What the codes of a frozen matrix stand for; on a GPU rounded to bf16. */
function decoded(W: Tensor2D): Float32Array {
  const out = backend().output(W.shape);
  backend().native.decodeWeight(backend().handle(W), backend().handle(out), W.shape[0], W.shape[1]);
  const values = backend().readSync(out.dataId) as Float32Array;
  backend().release(out);
  return values;
}

/** Largest |difference| over the largest |expected|. */
function apart(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.equal(actual.length, expected.length);
  let most = 0, far = 0;
  for (let i = 0; i < expected.length; i++) {
    most = Math.max(most, Math.abs(expected[i]));
    far = Math.max(far, Math.abs(actual[i] - expected[i]));
  }
  return far / most;
}
const ROUNDED = NAME === 'cuda' ? 2 ** -8 : 1e-6;

test('NF4 with double quantisation has the codes that bitsandbytes has', { skip }, async () => {
  await useBackend(NAME, { threads: 2, precision: 'nf4' });
  const codes = bytes(golden.nf4.codes), magnitudes = floats(golden.nf4.magnitudes);
  const expected = WEIGHT.map((_, i) => golden.nf4.values[i % 2 ? codes[i >> 1] & 15 : codes[i >> 1] >> 4] * magnitudes[i >> 6]);
  withMapped(WEIGHT, [rows, columns], (W) => assert.ok(apart(decoded(W), expected) < ROUNDED));
  assert.ok(apart(expected, WEIGHT) > 0.05, 'four bits lose something');
});

test('int8 by rows has the codes that bitsandbytes has', { skip }, async () => {
  await useBackend(NAME, { threads: 2, precision: 'int8' });
  const codes = new Int8Array(bytes(golden.int8.codes)), scales = floats(golden.int8.scales), few = WEIGHT.subarray(0, golden.int8.rows * columns);
  const expected = few.map((_, i) => codes[i] * scales[Math.floor(i / columns)] / 127);
  withMapped(few, [golden.int8.rows, columns], (W) => assert.ok(apart(decoded(W), expected) < ROUNDED));
});

/** To the nearest that bf16 has. */
const bf16 = (x: ArrayLike<number>): Float32Array => new Float32Array(new Uint32Array(Float32Array.from(x).buffer).map((u) => (u + 0x7fff + ((u >>> 16) & 1)) & 0xffff0000).buffer);

for (const precision of ['nf4', 'int8'] as const) {
  test(`products with ${precision} weights are those of what the codes stand for in bf16, and so are the gradients; heads are left as they are`, { skip }, async () => {
    await useBackend(NAME, { threads: 2, precision });
    for (const [out, width, tokens] of [[64, 264, 9], [64, 260, 2], [13, 37, 3], [130, 96, 1], [70, 264, 7], [300, 800, 70], [40, 64, 270]]) for (const layout of ['oi', 'io'] as const) {
      const shape: [number, number] = layout === 'oi' ? [out, width] : [width, out];
      withMapped(Float32Array.from(random(shape).values), shape, (W) => {
        const x = bf16(random([tokens, width]).values), dy = bf16(random([tokens, out], 'float32', 0.7).values), w = bf16(decoded(W)), bias = Float32Array.from(random([out]).values);
        const X = tf.variable(tf.tensor2d(x, [tokens, width])), at = (i: number, j: number): number => w[layout === 'oi' ? i * width + j : j * out + i];
        const run = (exact = false): { y: ArrayLike<number>; dx: ArrayLike<number> } => {
          let y: ArrayLike<number> = [];
          const { grads } = variableGradients(() => {
            const t = linear(X, W, tf.tensor1d(bias) as Tensor1D, { layout, exact });
            y = t.dataSync();
            return tf.sum(tf.mul(t, tf.tensor2d(dy, [tokens, out]))) as Scalar;
          }, [X]);
          return { y, dx: grads.get(X)!.dataSync() };
        };
        const { y, dx } = run();
        const product = Array.from({ length: tokens * out }, (_, i) => { let s = bias[i % out]; for (let k = 0; k < width; k++) s += x[Math.floor(i / out) * width + k] * at(i % out, k); return s; });
        const back = Array.from({ length: tokens * width }, (_, i) => { let s = 0; for (let k = 0; k < out; k++) s += dy[Math.floor(i / width) * out + k] * at(k, i % width); return s; });
        assert.ok(apart(y, product) < 1e-5 && apart(dx, back) < 1e-5, `${precision} ${shape} ${layout}`);
        assert.ok(apart(run(true).y, product) > 1e-3);
        X.dispose();
      });
    }
  });
}

test('a coded weight takes 4.13 or 8 bits a value, and nothing else is kept of it', { skip }, async () => {
  const [out, width] = [256, 1024], kept: Partial<Record<Precision, number>> = {};
  for (const precision of ['bf16', 'int8', 'nf4'] as const) {
    await useBackend(NAME, { threads: 2, precision });
    const packed = (): number => backend().memory().packed;
    withMapped(Float32Array.from(random([out, width]).values), [out, width], (W) => {
      const before = packed(), x = tf.variable(tf.tensor2d(random([8, width]).values, [8, width]));
      variableGradients(() => tf.sum(linear(x, W)) as Scalar, [x]);
      kept[precision] = (packed() - before) * 8 / (out * width);
      x.dispose();
    });
  }
  const { bf16: two, int8, nf4 } = kept as Record<Precision, number>;
  assert.ok(two >= 16 && int8 >= 8 && int8 < 8.2 && nf4 >= 4.12 && nf4 < 4.2, JSON.stringify(kept));
  await useBackend(NAME, { precision: 'f32' });
});
