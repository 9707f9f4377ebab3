import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readArrow } from '../../src/formats/arrow.js';
import { rowsOf, type Row } from '../../src/formats/rows.js';
import type { TtaMethod } from '../../src/tta/method.js';
import { loadTta } from '../../src/tta/registry.js';
import { maxDifference, readGolden, ROOT } from '../models/golden.js';
import { must, scratch } from '../support/tiny.js';

/** What test/golden/tta_reference.py wrote: sums of bytes of the stream's batches and of the source's, options and logits by what starts with a method's name. */
interface Golden { sums: number[]; cases: Record<string, { options: Record<string, number | string>; logits: number[][] }> }

const BATCH = 64;
/** How far logits may be off in the first batch and in later ones, where it is more than 0.001: Adam makes whole steps of rounding, and some train beforehand. */
const WITHIN: Record<string, [number, number]> = { tent: [1e-3, 0.03], cotta: [1e-3, 0.01], 'petal without source images': [1e-3, 0.01], 'rmt without warm-up': [1e-3, 0.05], rmt: [0.06, 0.1], petal: [0.03, 0.03] };
const data = join(process.env.GRAFT_DATA ?? join(ROOT, '../shared/data'), 'cifar10'), weights = join(data, 'resnet20-12fca82f.safetensors');

test('on CIFAR-10 and a ResNet-20 methods predict as PyTorch does with the same random numbers', async (t) => {
  if (!existsSync(weights)) return t.skip(`${weights} is not there`);
  const folder = scratch(), { sums, cases } = readGolden<Golden>('tta-reference');
  const files = await streams(folder);
  assert.deepEqual((await Promise.all(files.map(sumsOf))).flat(), sums, 'bytes of the images');
  for (const [name, { options, logits }] of Object.entries(cases)) {
    const method = await loadTta(name.split(' ')[0]), out = join(folder, `${name}.arrow`);
    const from = 'sourceData' in method.options && !name.endsWith('without source images') ? ['--source-data', files[1]] : [];
    must(['tta', '-m', weights, '--method', method.name, '--batch-size', String(BATCH), '-q', '-d', files[0], '-o', out, ...flags(method, options), ...from]);
    const found = await each(out, (r) => [...(r.logits as Float32Array)]);
    logits.forEach((z, i) => {
      const within = WITHIN[name]?.[Math.min(i, 1)] ?? 1e-3, off = maxDifference(found.slice(BATCH * i).flat().slice(0, z.length), z);
      assert.ok(off <= within, `${name}, batch ${i}: ${off}`);
    });
  }
});

const flags = ({ options }: TtaMethod, given: Record<string, number | string>): string[] =>
  Object.entries(given).flatMap(([name, value]) => (name in options ? [`--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`, String(value)] : []));

/** Three corruptions of 64 test images, and 256 training images. */
async function streams(folder: string): Promise<[string, string]> {
  const piped = (...stages: string[][]): Buffer => stages.reduce<Buffer>((input, args) => must(['data', ...args, '-q'], input), Buffer.alloc(0));
  const drawn = (archive: string, n: number): string[][] => [['import', '--raw', join(data, archive)], ['sample', '-n', String(n), '--seed', '0'], ['shuffle', '--seed', '0']];
  const [stream, source] = [join(folder, 'stream.arrow'), join(folder, 'source.arrow')];
  piped(...drawn('cifar10-test.tar', BATCH), ['corrupt', '--kind', 'gaussian_noise,motion_blur,contrast', '--severity', '5', '-o', stream]);
  piped(...drawn('cifar10-train-5000.tar', 256), ['select', '-o', source]);
  return [stream, source];
}

async function each<T>(path: string, of: (row: Row) => T): Promise<T[]> {
  const { batches } = await readArrow(path, (async function* () { yield readFileSync(path); })()), found: T[] = [];
  for await (const batch of batches) found.push(...rowsOf(batch).map(of));
  return found;
}

async function sumsOf(path: string): Promise<number[]> {
  const sums = await each(path, ({ image }) => (image as Uint8Array).reduce((a, b) => a + b, 0));
  return Array.from({ length: sums.length / BATCH }, (_, i) => sums.slice(BATCH * i, BATCH * (i + 1)).reduce((a, b) => a + b, 0));
}
