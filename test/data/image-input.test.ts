import { useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import sharp from 'sharp';
import { imageBatch, rawShape } from '../../src/data/image-input.js';

before(() => useBackend('auto'));

const RGB = Uint8Array.from({ length: 2 * 3 * 3 }, (_, i) => i * 14);
const png = (data: Uint8Array, channels: 1 | 3 | 4, width = 3, height = 2): Promise<Buffer> => sharp(data, { raw: { width, height, channels } }).png().toBuffer();
const pixels = async (image: unknown, shape: number[] | null = null, size: readonly [number, number] | null = null): Promise<number[]> => {
  const { pixels: t } = await imageBatch([{ image }], shape, size);
  const values = [...t.dataSync()].map((v) => Math.round(v * 255));
  t.dispose();
  return values;
};

test('encoded bytes, {bytes, path} and raw HWC give the same pixels in [0,1]', async () => {
  const bytes = await png(RGB, 3);
  const expected = [...RGB];
  assert.deepEqual(await pixels(new Uint8Array(bytes)), expected);
  assert.deepEqual(await pixels({ bytes: new Uint8Array(bytes), path: null }), expected);
  assert.deepEqual(await pixels(RGB, rawShape(new Map([['shape', '2,3,3']]))), expected);
  const { pixels: t } = await imageBatch([{ image: RGB }, { image: RGB }], [2, 3, 3], null);
  assert.deepEqual(t.shape, [2, 2, 3, 3]);
  assert.ok(Math.max(...t.dataSync()) <= 1);
  t.dispose();
});

test('grey pictures fill three channels; an alpha channel is dropped', async () => {
  const grey = Uint8Array.of(0, 50, 100, 150, 200, 250), three = [...grey].flatMap((v) => [v, v, v]);
  assert.deepEqual(await pixels(new Uint8Array(await png(grey, 1))), three);
  assert.deepEqual(await pixels(grey, [2, 3, 1]), three);
  const rgba = Uint8Array.from({ length: 24 }, (_, i) => (i % 4 === 3 ? 128 : i * 10));
  assert.deepEqual(await pixels(new Uint8Array(await png(rgba, 4))), [...rgba].filter((_, i) => i % 4 !== 3));
});

test('pictures are resized only when the model wants another size', async () => {
  assert.deepEqual(await pixels(RGB, [2, 3, 3], [2, 3]), [...RGB]);
  assert.equal((await pixels(RGB, [2, 3, 3], [4, 5])).length, 60);
  const flat = new Uint8Array(48).fill(77);
  assert.ok((await pixels(flat, [4, 4, 3], [7, 7])).every((v) => v === 77));
});

test('what is no picture is refused, saying where', async () => {
  await assert.rejects(pixels(Uint8Array.of(1, 2, 3)), /image of row 1: cannot be decoded/);
  await assert.rejects(pixels('cat.png'), /image of row 1: is neither bytes nor/);
  await assert.rejects(pixels(RGB, [2, 2, 3]), /has 18 bytes, not 2×2×3/);
  await assert.rejects(pixels(RGB, [2, 3, 2]), /raw images are height×width×3/);
  const cut = await png(Uint8Array.from({ length: 300 * 300 * 3 }, (_, i) => (i * 7919) % 251), 3, 300, 300);
  await assert.rejects(pixels(new Uint8Array(cut.subarray(0, cut.length / 2))), /cannot be decoded/);
  await assert.rejects(imageBatch([{ image: RGB }, { image: new Uint8Array(12) }], [2, 3, 3], null), /image of row 2/);
});
