import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { decodeWav } from '../../../src/data/import/wav.js';
import { idx, npy, picture, tar, wav } from '../makers.js';
import { folder, graftData, produced } from '../support.js';

test('a tar of pictures: classes are folders, bytes are kept', async (t) => {
  const file = folder(t);
  const [dark, light] = [await picture(10), await picture(200)];
  const long = `train/${'x'.repeat(120)}/3.png`;
  const path = file('a.tar', tar({ 'train/dog/1.png': dark, 'train/cat/2.png': light, 'train/readme.md': Buffer.from('no'), [long]: dark }));
  const { rows, table } = await produced(file, 'import', path);
  assert.deepEqual(table.classNames('label'), ['cat', 'dog', 'x'.repeat(120)]);
  assert.deepEqual(rows.map((r) => r.label), [1, 0, 2]);
  assert.deepEqual(rows.map((r) => (r.image as { path: string }).path), ['train/dog/1.png', 'train/cat/2.png', long]);
  assert.ok(dark.equals((rows[0].image as { bytes: Uint8Array }).bytes));
  const { rows: again } = await produced(file, 'import', file('b.tgz', gzipSync(tar({ 'a/1.png': dark }))));
  assert.equal(again.length, 1);
});

test('raw pixels have their shape in the metadata; sizes must agree or be given', async (t) => {
  const file = folder(t);
  for (const [name, bytes] of [['a', await picture(10)], ['b', await picture(200, 8)]] as const) {
    mkdirSync(file(`pictures-${name}`), { recursive: true });
    mkdirSync(file(`pictures-${name}/${name}`), { recursive: true });
    file(`pictures-${name}/${name}/1.png`, bytes);
  }
  const { rows, table } = await produced(file, 'import', '--raw', file('pictures-a'));
  assert.equal(table.schema.fields[0].metadata.get('shape'), '4,4,3');
  assert.deepEqual([...rows[0].image as Uint8Array], Array(48).fill(10));
  await assert.rejects(graftData('import', '--raw', file('pictures-a'), file('pictures-b'), '-o', file('x')), /pictures-b: b\/1.png: is 8×8 where the first picture is 4×4; --size/);
  const { rows: sized } = await produced(file, 'import', '--raw', '--size', '6', file('pictures-a'), file('pictures-b'));
  assert.deepEqual(sized.map((r) => (r.image as Uint8Array).length), [108, 108]);
});

test('a broken picture or archive is named', async (t) => {
  const file = folder(t);
  const whole = await picture(10, 32);
  const path = file('a.tar', tar({ 'a/1.png': whole, 'a/2.png': whole.subarray(0, 60) }));
  await assert.rejects(graftData('import', '--raw', path, '-o', file('x')), /a.tar: a\/2.png: cannot be decoded/);
  const bytes = tar({ 'a/1.png': whole });
  await assert.rejects(graftData('import', file('b.tar', bytes.subarray(0, 700)), '-o', file('x')), /b.tar: the tar archive is cut short/);
  await assert.rejects(graftData('import', '--format', 'images', file('c.tar', tar({ 'a/1.txt': whole })), '-o', file('x')), /c.tar: holds no pictures/);
});

test('WAV: every width, floats, channels averaged', () => {
  const samples = (b: Buffer): number[] => [...decodeWav(b, 'x').samples];
  assert.deepEqual(samples(wav(1, 8, 1, Buffer.from([0, 128, 192]))), [-1, 0, 0.5]);
  assert.deepEqual(samples(wav(1, 16, 1, Buffer.from(Int16Array.of(-32768, 0, 16384).buffer))), [-1, 0, 0.5]);
  assert.deepEqual(samples(wav(1, 24, 1, Buffer.from([0, 0, 0x80, 0, 0, 0, 0, 0, 0x40, 1, 0, 0]))), [-1, 0, 0.5, 2 ** -23]);
  assert.deepEqual(samples(wav(1, 32, 1, Buffer.from(Int32Array.of(-(2 ** 31), 2 ** 30).buffer))), [-1, 0.5]);
  assert.deepEqual(samples(wav(3, 32, 1, Buffer.from(Float32Array.of(-0.25, 0.75).buffer))), [-0.25, 0.75]);
  assert.deepEqual(samples(wav(1, 16, 2, Buffer.from(Int16Array.of(16384, 0, -16384, -16384).buffer))), [0.25, -0.5]);
  assert.equal(decodeWav(wav(1, 16, 1, Buffer.alloc(4)), 'x').rate, 8000);
  assert.throws(() => decodeWav(wav(1, 16, 1, Buffer.alloc(40)).subarray(0, 60), 'x'), /x: is cut short/);
  assert.throws(() => decodeWav(wav(6, 8, 1, Buffer.alloc(4)), 'x'), /encoding 6/);
  assert.throws(() => decodeWav(Buffer.from('hello world, no sound'), 'x'), /is not a WAV file/);
});

test('a tar of sounds: what the paths say, encoded or as samples', async (t) => {
  const file = folder(t);
  const sound = wav(1, 16, 1, Buffer.from(Int16Array.of(0, 16384).buffer));
  const path = file('a.tar', tar({ 'rec/7_anna_0.wav': sound, 'rec/3_ben_1.wav': sound }));
  const pattern = ['--pattern', '(?<label>\\d)_(?<speaker>\\w+)_\\d+'];
  const { rows, table } = await produced(file, 'import', ...pattern, path);
  assert.deepEqual(rows.map(({ label, speaker }) => [label, speaker]), [[1, 'anna'], [0, 'ben']]);
  assert.deepEqual(table.classNames('label'), ['3', '7']);
  const { rows: raw } = await produced(file, 'import', '--raw', ...pattern, path);
  assert.deepEqual([...raw[0].audio as Float32Array], [0, 0.5]);
  assert.equal(raw[0].sampling_rate, 8000);
});

test('IDX: images beside their labels', async (t) => {
  const file = folder(t);
  const images = file('images.gz', gzipSync(idx([2, 1, 3], [1, 2, 3, 4, 5, 6]))), labels = file('labels', idx([2], [9, 4]));
  const { rows, table } = await produced(file, 'import', images, labels);
  assert.deepEqual(rows.map((r) => [[...r.image as Uint8Array], r.label]), [[[1, 2, 3], 1], [[4, 5, 6], 0]]);
  assert.equal(table.schema.fields[0].metadata.get('shape'), '1,3,1');
  await assert.rejects(graftData('import', images, file('short', idx([3], [1, 2, 3])), '-o', file('x')), /has 3 records where .* has 2/);
  await assert.rejects(graftData('import', file('cut', idx([2, 1, 3], [1])), '-o', file('x')), /cut short/);
});

test('CIFAR-10-C arrays: severity blocks of the same images', async (t) => {
  const file = folder(t);
  mkdirSync(file('c'));
  file('c/fog.npy', npy('|u1', [10, 1, 1, 3], Uint8Array.from({ length: 30 }, (_, i) => i)));
  file('c/labels.npy', npy('<i8', [10], new Uint8Array(BigInt64Array.of(3n, 1n, 3n, 1n, 3n, 1n, 3n, 1n, 3n, 1n).buffer)));
  const { rows } = await produced(file, 'import', '--format', 'cifar-c', '--kind', 'fog', '--severity', '1,5', file('c'), '--label', 'none');
  assert.deepEqual(rows.map((r) => [r.domain, r.severity, r.id, r.label, (r.image as Uint8Array)[0]]), [['fog', 1, '0', 3, 0], ['fog', 1, '1', 1, 3], ['fog', 5, '0', 3, 24], ['fog', 5, '1', 1, 27]]);
});
