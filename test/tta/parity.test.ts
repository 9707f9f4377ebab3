import { scoped, tf, type Tensor } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { maxDifference, readGolden, ROOT } from '../models/golden.js';
import { bench, pixels, step } from './support.js';

test('methods predict three batches as PyTorch does', async () => {
  const { images, labels, options, logits } = readGolden<{ images: number[][]; labels: number[]; options: Record<string, { start?: number }>; logits: Record<string, number[][]> }>('tta');
  const at = await bench(join(ROOT, 'test/golden/models/resnet-cifar'));
  const size = 8 * 8 * 3;
  const batches = images.map((b) => pixels(Array.from({ length: b.length / size }, (_, i) => Uint8Array.from(b.slice(i * size, (i + 1) * size)))));
  for (const [name, expected] of Object.entries(logits)) {
    const { start, ...config } = options[name];
    const prepared = await at.prepare(name, config, [{ pixels: batches[0], labels: tf.tensor1d(labels, 'int32') }]);
    const a = await at.start(name, config, { prepared });
    // A student that equals its teacher has a gradient of rounding noise only, which Adam scales to whole steps.
    const scaled = ([n, t]: [string, Tensor]): [string, Tensor] => [n, n.startsWith('student.') ? tf.mul(t, start!) : t];
    // What a method draws at random is given values that any program can make.
    const sines = ([n, t]: [string, Tensor]): [string, Tensor] => [n, n.startsWith('student.projector') ? tf.div(tf.sin(tf.reshape(tf.range(1, t.size + 1), t.shape)), Math.sqrt(t.shape.at(-1)!)) : t];
    scoped(() => a.restore(new Map([...a.state()].map(sines))));
    if (start) scoped(() => a.restore(new Map([...a.state()].map(scaled))));
    batches.forEach((x, i) => {
      const difference = maxDifference(step(a, x), expected[i]);
      assert.ok(difference <= 1e-4, `${name}, batch ${i}: ${difference}`);
    });
    a.dispose();
    tf.dispose([...(prepared?.values() ?? [])]);
  }
  at.runtime.dispose();
});
