import { tf, useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { padBatch } from '../../src/data/encode.js';
import { decodeImage, tensorOf } from '../../src/data/image-input.js';
import { openRuntime } from '../../src/runtime.js';
import { maxDifference, readGolden, ROOT } from './golden.js';

before(() => useBackend('auto'));

test('MiniLM: hidden states of eight sentences as transformers computes them', async (t) => {
  const folder = process.env.GRAFT_MINILM;
  if (!folder || !existsSync(folder)) return t.skip('GRAFT_MINILM names no folder with the MiniLM checkpoint');
  const { texts, hidden } = readGolden<{ texts: string[]; hidden: number[][] }>('minilm');
  const runtime = await openRuntime({ model: folder });
  const batch = padBatch(texts.map((text) => runtime.tokenizer.encode(text)), runtime.tokenizer.padId);
  const states = tf.tidy(() => runtime.features(batch).hidden);
  const [, T, d] = states.shape as number[], values = states.dataSync();
  hidden.forEach((row, b) => {
    const got = row.map((_, i) => values[(b * T + Math.floor(i / 8)) * d + (i % 8)]);
    assert.ok(maxDifference(got, row) <= 1e-5, `${texts[b]}: ${maxDifference(got, row)}`);
  });
  runtime.dispose();
});

test('CIFAR ResNets: logits of twenty test images as PyTorch computes them', async (t) => {
  const folder = join(process.env.GRAFT_DATA ?? join(ROOT, '../shared/data'), 'cifar10');
  if (!existsSync(folder)) return t.skip(`${folder} is not there`);
  const { members, sums, logits } = readGolden<{ members: string[]; sums: number[]; logits: Record<string, number[]> }>('cifar');
  const files = firstMembers(readFileSync(join(folder, 'cifar10-test.tar')), members.length);
  assert.deepEqual([...files.keys()], members);
  const images = await Promise.all([...files].map(([name, bytes]) => decodeImage(bytes, name)));
  assert.deepEqual(images.map(({ data }) => data.reduce((a, b) => a + b, 0)), sums, 'decoded pixels');
  for (const [name, expected] of Object.entries(logits)) {
    const runtime = await openRuntime({ model: join(folder, name) });
    assert.equal(runtime.head!.labels!.length, 10);
    const got = tf.tidy(() => runtime.logits(tensorOf(images)).dataSync().slice());
    assert.ok(maxDifference(got, expected) <= 1e-4, `${name}: ${maxDifference(got, expected)}`);
    runtime.dispose();
  }
});

/** The first files of a tar archive. */
function firstMembers(tar: Buffer, count: number): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let at = 0; files.size < count;) {
    const name = tar.toString('latin1', at, at + 100).replace(/\0.*$/s, '');
    const size = parseInt(tar.toString('latin1', at + 124, at + 136), 8);
    if (name.endsWith('.jpg')) files.set(name, tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
