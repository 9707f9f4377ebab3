import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { augmentImages, Rng, tf, useBackend, type Augmentation, type Tensor4D } from '../src/index.js';
import { agrees, BACKEND, data, NAME, sizeOf, skip, start } from './against.js';

before(start);

const COLOURS: Augmentation['colours'] = [['hue', 0.05], ['gamma', 1.2], ['brightness', 1.3], ['saturation', 1.4], ['contrast', 0.8]];
const STILL: Augmentation = {
  colours: COLOURS.map(([name]) => [name, name === 'hue' ? 0 : 1]), affine: { angle: 0, scale: 1, dx: 0, dy: 0 }, blur: 0.001, flip: false,
  noise: { std: 0, keys: [1, 2] },
};
/** Pixels a little beyond [0, 1] on both sides. */
const image = (shape: [number, number, number, number], seed = 0) => data(Array.from({ length: sizeOf(shape) }, ((rng) => () => Math.fround(rng.uniform(-0.1, 1.1)))(new Rng(seed))), shape);
const run = (x: ReturnType<typeof image>, ...draws: Augmentation[]): number[] =>
  tf.tidy(() => [...augmentImages(tf.tensor(x.values, x.shape as [number, number, number, number]) as Tensor4D, draws).dataSync()]);
const reversed = <T>(items: readonly T[]): T[] => [...items].reverse();

test('the native augmentation is the reference', { skip }, () => {
  const affine = { angle: 0.2, scale: 0.92, dx: 2, dy: -1 };
  const cases: [string, Partial<Augmentation>][] = [
    ['nothing', {}], ...COLOURS.map((c): [string, Partial<Augmentation>] => [c[0], { colours: [c, ...STILL.colours.filter(([name]) => name !== c[0])] }]),
    ['hue the other way', { colours: [['hue', -0.6], ...STILL.colours.slice(1)] }], ['affine', { affine }], ['far away', { affine: { ...affine, dx: 11, scale: 0.4 } }],
    ['blur', { blur: 0.8 }], ['flip', { flip: true }], ['noise', { noise: { std: 0.2, keys: [7, 4000000000] } }],
    ['all', { colours: COLOURS, affine, blur: 0.4, flip: true, noise: { std: 0.01, keys: [3, 5] } }],
  ];
  for (const [name, change] of cases)
    for (const shape of [[2, 8, 8, 3], [3, 7, 13, 3], [1, 1, 2, 3]] as [number, number, number, number][])
      agrees(`${name} ${shape}`, (x) => augmentImages(x as Tensor4D, [{ ...STILL, ...change }]), [image(shape)], { tolerance: 1e-5 });
});

test('one draw each gives what each gives alone, but for the noise; another count is refused', { skip }, () => {
  const x = image([2, 6, 6, 3]), draws = [{ ...STILL, flip: true }, { ...STILL, colours: reversed(COLOURS) }];
  for (const backend of ['cpu', BACKEND]) {
    tf.setBackend(backend);
    const half = x.values.length / 2, alone = (k: number): number[] => run(data(x.values.slice(k * half, (k + 1) * half), [1, 6, 6, 3]), draws[k]);
    assert.deepEqual(run(x, ...draws), [...alone(0), ...alone(1)]);
    assert.throws(() => run(x, STILL, STILL, STILL), /3 draws for 2 images/);
  }
});

test('nothing to do only clips; shifted images are read where they were', { skip }, () => {
  tf.setBackend(BACKEND);
  const x = image([1, 6, 5, 3]), at = (v: number[], i: number, j: number): number[] => v.slice((i * 5 + j) * 3, (i * 5 + j) * 3 + 3);
  const clipped = x.values.map((v) => Math.min(1, Math.max(0, v)));
  run(x, STILL).forEach((v, i) => assert.ok(Math.abs(v - clipped[i]) < 1e-6));
  at(run(x, { ...STILL, affine: { angle: 0, scale: 1, dx: 1, dy: 2 } }), 4, 3).forEach((v, c) => assert.ok(Math.abs(v - at(clipped, 2, 2)[c]) < 1e-6));
});

test('the noise is normal, has the same bytes for the same keys on any number of threads, and differs between images and keys', { skip }, async () => {
  const n = 8, grey = data(new Array<number>(n * 64 * 64 * 3).fill(0.5), [n, 64, 64, 3]), draw = (key: number): Augmentation => ({ ...STILL, noise: { std: 0.1, keys: [key, 9] } });
  const noise: number[][] = [];
  for (const threads of [1, 2]) {
    await useBackend(NAME, { threads });
    noise.push(run(grey, draw(1)));
  }
  const [z, again] = noise.map((v) => v.map((y) => (y - 0.5) / 0.1)), other = run(grey, draw(2)).map((y) => (y - 0.5) / 0.1);
  assert.deepEqual(again, z);
  const mean = (f: (i: number) => number): number => z.reduce((s, _, i) => s + f(i), 0) / z.length;
  const near = (value: number, want: number, deviation: number): void => assert.ok(Math.abs(value - want) < (5 * deviation) / Math.sqrt(z.length), `${value}, not ${want}`);
  near(mean((i) => z[i]), 0, 1);
  near(mean((i) => z[i] ** 2), 1, Math.SQRT2);
  near(mean((i) => z[i] ** 4), 3, 10);
  near(mean((i) => Number(Math.abs(z[i]) < 0.6744898)), 0.5, 0.5);
  const size = z.length / n;
  for (const step of [1, 2, size / 2, size]) near(mean((i) => z[i] * z[(i + step) % z.length]), 0, 1);
  near(mean((i) => z[i] * other[i]), 0, 1);
});
