import { scoped, tf, type Tensor, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Adaptation } from '../../src/tta/method.js';
import { loadTta } from '../../src/tta/registry.js';
import { loadWrapper } from '../../src/tta/wrappers.js';
import { maxDifference, readGolden, ROOT } from '../models/golden.js';
import { bench, defaults, pixels, step, type Bench } from './support.js';

type Logits = number[][];
const golden = readGolden<{
  images: number[][]; labels: number[]; options: Record<string, { start?: number }>; logits: Record<string, Logits>; labelShift: { prior: number[]; logits: Logits };
}>('tta');
let at: Bench, batches: Tensor4D[];

before(async () => {
  at = await bench(join(ROOT, 'test/golden/models/resnet-cifar'));
  const size = 8 * 8 * 3;
  batches = golden.images.map((b) => pixels(Array.from({ length: b.length / size }, (_, i) => Uint8Array.from(b.slice(i * size, (i + 1) * size)))));
});
after(() => at.runtime.dispose());

/** Values any program can make, where a method draws at random. */
const sines = (shape: number[]): Tensor => tf.div(tf.sin(tf.reshape(tf.range(1, shape.reduce((a, b) => a * b) + 1), shape)), Math.sqrt(shape.at(-1)!));

function compare(name: string, a: Adaptation, expected: Logits): void {
  batches.forEach((x, i) => {
    const difference = maxDifference(step(a, x), expected[i]);
    assert.ok(difference <= 1e-4, `${name}, batch ${i}: ${difference}`);
  });
  a.dispose();
}

test('methods predict three batches as PyTorch does', async () => {
  for (const [name, expected] of Object.entries(golden.logits)) {
    const { start = 1, ...config } = golden.options[name];
    const prepared = await at.prepare(name, config, [{ pixels: batches[0], labels: tf.tensor1d(golden.labels, 'int32') }]);
    const a = await at.start(name, config, { prepared });
    // A student that equals its teacher has a gradient of rounding noise only, which Adam scales to whole steps.
    const begun = ([n, t]: [string, Tensor]): [string, Tensor] => {
      const value = /projector|_down/.test(n) && !n.startsWith('adam.') ? sines(t.shape) : t;
      return [n, n.startsWith('student.') ? tf.mul(value, start) : value];
    };
    scoped(() => a.restore(new Map([...a.state()].map(begun))));
    compare(name, a, expected);
    tf.dispose([...(prepared?.values() ?? [])]);
  }
});

test('tent inside the label shift adapter does, too', async () => {
  const { prior, logits } = golden.labelShift, method = (await loadWrapper('label-shift')).wrap(await loadTta('tent')), C = prior.length, K = (C + 2) * 64 + C;
  const prepared = new Map<string, Tensor>([
    ['lsa.0.weight', sines([100, 1])], ['lsa.0.bias', sines([100])], ['lsa.2.weight', sines([K, 100])], ['lsa.2.bias', tf.zeros([K])], ['lsa.prior', tf.tensor1d(prior)],
  ]);
  compare(method.name, method.start(at.source, { ...defaults(method), lr: 0.01 }, 0, prepared), logits);
  tf.dispose([...prepared.values()]);
});
