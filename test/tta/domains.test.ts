import { tf } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { maxDifference, readGolden, ROOT } from '../models/golden.js';
import { bench, pixels, SIZE, step } from './support.js';

/** What test/golden/tta_domains.py wrote: two batches of the source domain, then three of a stream. */
interface Golden { images: number[][]; labels: number[]; options: Record<string, Record<string, unknown>>; logits: Record<string, number[][]> }

test('methods that know the source domain predict as PyTorch does', async () => {
  const { images, labels, options, logits } = readGolden<Golden>('tta-domains');
  const at = await bench(join(ROOT, 'test/golden/models/resnet-cifar'));
  const size = SIZE * SIZE * 3;
  const batches = images.map((b) => pixels(Array.from({ length: b.length / size }, (_, i) => Uint8Array.from(b.slice(i * size, (i + 1) * size)))));
  for (const [name, expected] of Object.entries(logits)) {
    const clean = [0, 1].map((i) => ({ pixels: batches[i], labels: tf.tensor1d(labels.slice(6 * i, 6 * (i + 1)), 'int32') }));
    const a = await at.start(name, options[name], { prepared: await at.prepare(name, options[name], clean) });
    [...batches.slice(2), ...batches.slice(2)].forEach((x, i) => {
      const difference = maxDifference(step(a, x), expected[i]);
      assert.ok(difference <= 1e-4, `${name}, batch ${i}: ${difference}`);
    });
    a.dispose();
  }
  at.runtime.dispose();
});
