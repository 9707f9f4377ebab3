import { Rng, tf, useBackend, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Denoiser } from '../../src/diffusion/denoiser.js';
import { noiseFrom } from '../../src/diffusion/images.js';
import { lowPass, lowPassMatrix } from '../../src/diffusion/low-pass.js';
import { guidance, project, type Projection } from '../../src/diffusion/project.js';
import { levels, noiseSchedule, type Level } from '../../src/diffusion/schedule.js';
import { openRuntime } from '../../src/runtime.js';
import { FOLDER, maxDifference } from '../models/golden.js';

before(() => useBackend('auto'));

const V = 0.7;
/** Of data N(0, v) in every pixel: x̂_0 = a_t x_t. */
const slope = ({ alpha }: Level): number => (Math.sqrt(alpha) * V) / (alpha * V + 1 - alpha);
const exact = (x: Tensor, level: Level): Tensor => tf.mul(x, slope(level));
const all = levels(noiseSchedule({ path: '.', files: [], config: { model_type: 'unet-2d-condition', num_train_timesteps: 100 } }), 20);
const filterOf = (H: number, W: number, D: number) => [lowPassMatrix(H, D), lowPassMatrix(W, D)] as const;
const random = (seed: number, ...shape: number[]): Tensor => noiseFrom(Array.from({ length: shape[0] }, (_, i) => new Rng(seed, i)), shape.slice(1));
const numbers = (t: Tensor): Float32Array => t.dataSync().slice() as Float32Array;

test('φ_D leaves a constant as it is, takes away what alternates, and keeps the mean about', () => {
  for (const [H, W, D] of [[8, 12, 4], [16, 16, 2], [9, 7, 3], [8, 8, 1]]) {
    const filter = filterOf(H, W, D);
    assert.ok(maxDifference(numbers(lowPass(tf.fill([1, H, W, 2], 0.3), filter)), new Array<number>(H * W * 2).fill(0.3)) < 1e-6);
    if (D === 1) continue;
    const board = tf.tensor4d(Float32Array.from({ length: H * W }, (_, i) => ((Math.floor(i / W) + i % W) % 2 === 0 ? 1 : -1)), [1, H, W, 1]);
    const inner = numbers(tf.slice(lowPass(board, filter), [0, 2, 2, 0], [1, H - 4, W - 4, 1]));
    assert.ok(Math.max(...inner.map(Math.abs)) < 0.1, `${H}×${W} by ${D}: ${Math.max(...inner)}`);
  }
  const same = numbers(lowPassMatrix(6, 1));
  assert.ok(maxDifference(same, numbers(tf.eye(6))) < 1e-6, 'φ_1 is the identity');
  assert.throws(() => lowPassMatrix(3, 4), /--down 4: nothing is left of 3 pixels/);
});

test('φ_D works along height and width of every channel alone', () => {
  const x = random(1, 2, 6, 4, 3) as Tensor4D, filter = filterOf(6, 4, 2), [A, B] = filter.map((m) => m.arraySync() as number[][]);
  const given = x.arraySync(), found = lowPass(x, filter).arraySync();
  for (const [b, h, w, c] of [[0, 0, 0, 0], [1, 3, 2, 1], [1, 5, 3, 2]]) {
    let sum = 0;
    for (let i = 0; i < 6; i++) for (let j = 0; j < 4; j++) sum += A[h][i] * B[w][j] * given[b][i][j][c];
    assert.ok(Math.abs(found[b][h][w][c] - sum) < 1e-5);
  }
});

test('the guidance of an exact linear denoiser is -a ΦᵀΦ(x_0 - a x_t)/‖Φ(x_0 - a x_t)‖, by image and over the batch', () => {
  const x0 = random(2, 3, 6, 6, 2) as Tensor4D, x = tf.variable(random(3, 3, 6, 6, 2)), filter = filterOf(6, 6, 2), level = all[8], a = slope(level);
  const difference = tf.sub(x0, tf.mul(x, a)), coarse = lowPass(difference, filter);
  const back = lowPass(coarse, filter.map((m) => tf.transpose(m)) as unknown as readonly [Tensor2D, Tensor2D]);
  for (const normOver of ['image', 'batch'] as const) {
    const norm = tf.sqrt(tf.sum(tf.square(coarse), normOver === 'image' ? [1, 2, 3] : undefined, normOver === 'image'));
    const { found, gradient } = guidance(x, lowPass(x0, filter), (z) => exact(z, level), { filter, normOver });
    assert.ok(maxDifference(numbers(found), numbers(tf.mul(x, a))) < 1e-6);
    assert.ok(maxDifference(numbers(gradient), numbers(tf.mul(-a, tf.div(back, norm)))) < 1e-5);
  }
});

test('N = 0 leaves images as they are; guidance brings what is coarse nearer to them; each image depends on itself alone', () => {
  const x0 = tf.mul(random(4, 4, 8, 8, 1), Math.sqrt(V)) as Tensor4D, filter = filterOf(8, 8, 4);
  const run = (o: Partial<Projection>, rows = [0, 1, 2, 3]): Tensor4D => project(tf.gather(x0, tf.tensor1d(rows, 'int32')), exact, rows.map((r) => new Rng('p', r)), { levels: all, from: 12, weight: 0, filter, normOver: 'image', ...o });
  const off = (x: Tensor): number => tf.norm(tf.sub(lowPass(x, filter), lowPass(x0, filter))).dataSync()[0];
  assert.equal(maxDifference(numbers(run({ from: 0 })), numbers(x0)), 0);
  const [free, held] = [run({}), run({ weight: 1 })];
  assert.ok(off(held) < 0.5 * off(free), `${off(held)}, without guidance ${off(free)}`);
  assert.ok(maxDifference(numbers(run({ weight: 1 }, [2])), numbers(tf.slice(held, [2, 0, 0, 0], [1, -1, -1, -1]))) < 1e-5);
  const tensors = tf.memory().numTensors;
  project(x0, exact, [0, 1, 2, 3].map((r) => new Rng(r)), { levels: all, from: 3, weight: 1, filter, normOver: 'image' }).dispose();
  assert.equal(tf.memory().numTensors, tensors, 'nothing is left behind');
});

test('the gradient goes through the network', async () => {
  const runtime = await openRuntime({ model: join(FOLDER, 'unet-attends') }), denoiser = new Denoiser(runtime, runtime.grafts, true);
  const x0 = random(5, 1, 8, 8, 3) as Tensor4D, start = random(6, 1, 8, 8, 3), filter = filterOf(8, 8, 2), level = { t: 9, alpha: 0.6, before: 0.7, last: false };
  const clean = (x: Tensor): Tensor => tf.div(tf.sub(x, tf.mul(denoiser.noise(x, level.t, [[]]), Math.sqrt(1 - level.alpha))), Math.sqrt(level.alpha));
  const coarse = lowPass(x0, filter), x = tf.variable(start), g = numbers(guidance(x, coarse, clean, { filter, normOver: 'image' }).gradient), size = Math.sqrt(g.reduce((s, v) => s + v * v, 0));
  const at = (h: number): number => tf.tidy(() => tf.norm(tf.sub(coarse, lowPass(clean(tf.add(start, tf.tensor(g.map((v) => (h * v) / size), start.shape))), filter))).dataSync()[0]);
  const difference = (at(1e-2) - at(-1e-2)) / 2e-2;
  assert.ok(size > 1e-2 && Math.abs(difference - size) < 0.02 * size, `slope ${difference}, gradient ${size}`);
  runtime.dispose();
});
