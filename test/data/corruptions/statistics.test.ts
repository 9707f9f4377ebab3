import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corrupt, type CorruptOptions } from '../../../src/data/corruptions/corruption.js';
import { corruptionsOf, STANDARD } from '../../../src/data/corruptions/registry.js';
import type { RgbImage } from '../../../src/data/raster.js';

const grey = (side: number): RgbImage => ({ height: side, width: side, data: new Uint8Array(side * side * 3).fill(128) });

const apply = (kind: string, image: RgbImage, options: Partial<CorruptOptions> = {}): Uint8Array =>
  corrupt(image, corruptionsOf(kind)[0], { severity: 5, seed: 0, row: 0, scale: 'cifar', ...options });

/** Standard deviation of what a corruption leaves of a grey image of 200 × 200. */
function std(kind: string): number {
  const out = apply(kind, grey(200));
  const mean = out.reduce((a, b) => a + b, 0) / out.length;
  return Math.sqrt(out.reduce((a, v) => a + (v - mean) ** 2, 0) / out.length);
}

for (const [kind, expected] of [['gaussian_noise', 25.5], ['shot_noise', 25.55], ['speckle_noise', 25.6]] as const) {
  test(`${kind} at severity 5 has its standard deviation on grey`, () => {
    const got = std(kind);
    assert.ok(Math.abs(got - expected) < 0.35, `${got}, expected ${expected}`);
  });
}

test('impulse_noise at severity 5 changes 7 % of the elements, half of them to 0', () => {
  const out = apply('impulse_noise', grey(200));
  const zeros = out.filter((v) => v === 0).length / out.length, ones = out.filter((v) => v === 255).length / out.length;
  assert.ok(Math.abs(zeros + ones - 0.07) < 0.003);
  assert.ok(Math.abs(zeros - ones) < 0.003);
  assert.equal(out.filter((v) => v !== 0 && v !== 255 && v !== 128).length, 0);
});

for (const kind of ['motion_blur', 'zoom_blur', 'glass_blur', 'defocus_blur', 'elastic_transform', 'pixelate', 'jpeg_compression']) {
  test(`${kind} leaves grey as it is`, () => {
    for (const severity of [1, 3, 5]) assert.ok(apply(kind, grey(32), { severity }).every((v) => Math.abs(v - 128) <= 1));
  });
}

/** A picture with structure in every direction. */
const scene = (height: number, width: number): RgbImage => ({
  height, width, data: Uint8Array.from({ length: height * width * 3 }, (_, i) => (((i * 7919) >> 4) + (Math.floor(i / 3 / width) % 11) * 20) & 255),
});

for (const { name } of STANDARD) {
  test(`${name}: bytes depend on seed, severity and row only; any size works`, () => {
    const image = scene(24, 37);
    const first = apply(name, image, { row: 'a', scale: undefined });
    assert.equal(first.length, image.data.length);
    assert.deepEqual(apply(name, image, { row: 'a', scale: undefined }), first);
    assert.notDeepEqual(first, image.data);
    const random = !['defocus_blur', 'zoom_blur', 'brightness', 'contrast', 'pixelate', 'jpeg_compression'].includes(name);
    assert.equal(Buffer.compare(apply(name, image, { row: 'b', scale: undefined }), first) !== 0, random, 'another row');
    assert.equal(Buffer.compare(apply(name, image, { seed: 1, row: 'a', scale: undefined }), first) !== 0, random, 'another seed');
    assert.notDeepEqual(apply(name, image, { severity: 1, row: 'a', scale: undefined }), first);
    const large = apply(name, scene(80, 96), { scale: undefined });
    assert.notDeepEqual(large, apply(name, scene(80, 96), { scale: 'cifar' }), 'sides over 64 take the constants of ImageNet-C');
  });
}

test('glass_blur: copy and swap differ', () => {
  assert.notDeepEqual(apply('glass_blur', scene(32, 32), { glass: 'copy' }), apply('glass_blur', scene(32, 32), { glass: 'swap' }));
});

test('frost takes photographs', () => {
  const photograph = { height: 40, width: 40, channels: 3, data: new Float64Array(4800).fill(1) };
  const out = apply('frost', grey(32), { frost: [photograph] });
  assert.ok(out.every((v) => v === Math.floor(0.75 * 128 + 0.45 * 255)));
});

test('an unknown kind is a usage error that lists the known ones', () => {
  assert.throws(() => corruptionsOf('rain'), /unknown corruption 'rain': one of standard15,.*fog/);
  assert.deepEqual(corruptionsOf('fog,br').map((c) => c.name), ['fog', 'brightness']);
});
