import { Rng, tf, useBackend, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { augment } from '../../src/tta/augment.js';

before(() => useBackend('auto'));

const [H, W] = [16, 12];
const filled = (B: number, value: (i: number, j: number, c: number) => number): Tensor4D =>
  tf.tensor4d(Float32Array.from({ length: B * H * W * 3 }, (_, k) => value(Math.floor(k / (W * 3)) % H, Math.floor(k / 3) % W, k % 3)), [B, H, W, 3]);
const augmented = (x: Tensor4D, seed: number): Float32Array => tf.tidy(() => augment(x, new Rng('augment', seed)).dataSync().slice() as Float32Array);
const mean = (v: ArrayLike<number>): number => Array.from(v).reduce((s, x) => s + x, 0) / v.length;
const deviation = (v: ArrayLike<number>): number => Math.sqrt(mean(Array.from(v, (x) => (x - mean(v)) ** 2)));

test('the same generator gives the same images, another others; all in [0, 1]', () => {
  const x = filled(2, (i, j, c) => (i * 7 + j * 5 + c * 3) % 11 / 10);
  assert.deepEqual(augmented(x, 1), augmented(x, 1));
  assert.notDeepEqual(augmented(x, 1), augmented(x, 2));
  for (let seed = 0; seed < 20; seed++) assert.ok(augmented(x, seed).every((v) => v >= 0 && v <= 1));
  x.dispose();
});

test('a grey image stays grey: only its brightness changes, within its bounds, and noise of .005 comes on top', () => {
  const x = filled(1, () => 0.5);
  const means = Array.from({ length: 40 }, (_, seed) => {
    const y = augmented(x, seed);
    assert.ok(Math.abs(deviation(y) - 0.005) < 0.001, String(deviation(y)));
    return mean(y);
  });
  // Brightness ×[.6, 1.4] and the power [.7, 1.3], in either order; contrast leaves a constant where it is.
  assert.ok(Math.min(...means) > (0.6 * 0.5) ** 1.3 - 0.01 && Math.max(...means) < 1.4 * 0.5 ** 0.7 + 0.01);
  assert.ok(deviation(means) > 0.05);
  x.dispose();
});

test('one draw holds for the whole batch: equal images stay equal but for their noise', () => {
  const x = filled(2, (i, j, c) => (i * 7 + j * 5 + c * 3) % 11 / 10);
  const y = augmented(x, 3), half = y.length / 2;
  const difference = Array.from({ length: half }, (_, k) => y[k] - y[half + k]);
  assert.ok(deviation(difference) < 0.01 && Math.abs(mean(difference)) < 0.002);
  x.dispose();
});

test('about half of the draws are mirrored; none is upside down', () => {
  const sides = filled(1, (_, j) => (j < W / 2 ? 0.2 : 0.8)), ends = filled(1, (i) => (i < H / 2 ? 0.2 : 0.8));
  let mirrored = 0;
  for (let seed = 0; seed < 60; seed++) {
    const y = augmented(sides, seed), z = augmented(ends, seed);
    const at = (image: Float32Array, i: number, j: number): number => image[(i * W + j) * 3 + 1];
    if (at(y, H / 2, 1) > at(y, H / 2, W - 2)) mirrored++;
    assert.ok(at(z, 1, W / 2) < at(z, H - 2, W / 2), String(seed));
  }
  assert.ok(mirrored > 15 && mirrored < 45, String(mirrored));
  tf.dispose([sides, ends]);
});
