import { Rng, scoped, tf, type Tensor1D, type Tensor3D, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { maxDifference, readGolden, ROOT } from '../models/golden.js';
import { aggregate, newAggregator } from '../../src/tta/aggregator.js';
import { metaGradients } from '../../src/tta/meta-distill.js';
import { STORED } from '../../src/tta/statistics.js';
import { bench, pixels, SIZE, step } from './support.js';

/** What test/golden/tta_domains.py wrote: two batches of the source domain, then three of a stream. */
interface Golden { images: number[][]; labels: number[]; options: Record<string, Record<string, unknown>>; logits: Record<string, number[][]>; meta: Meta }
interface Meta { alpha: number; heads: number; loss: number; target: number[]; norms: Record<string, number>; first: Record<string, number[]> }

const images = ({ images }: Golden): Tensor4D[] => images.map((b) => pixels(Array.from({ length: b.length / IMAGE }, (_, i) => Uint8Array.from(b.slice(i * IMAGE, (i + 1) * IMAGE)))));
const IMAGE = SIZE * SIZE * 3;

test('methods that know the source domain predict as PyTorch does', async () => {
  const at = await bench(join(ROOT, 'test/golden/models/resnet-cifar'));
  const golden = readGolden<Golden>('tta-domains'), { labels, options, logits } = golden, batches = images(golden);
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

/** What the golden script calls waves. */
const waves = (k: number, n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i * (0.7 + 0.01 * k) + k));

test('the gradients of an episode of Meta-DMoE are those of second derivatives', async () => {
  const at = await bench(join(ROOT, 'test/golden/models/resnet-cifar'));
  const golden = readGolden<Golden>('tta-domains'), { meta, labels } = golden, [support, query] = images(golden);
  const student = at.source.copy(at.source.parameters(), STORED), theta = new Map(at.source.extractor().map((n) => [n, student.own.get(n)!]));
  const phi = newAggregator(64, meta.heads, () => new Rng(0));
  ['norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'attn.qkv.weight', 'attn.qkv.bias', 'attn.proj.weight', 'attn.proj.bias', 'mlp.fc1.weight', 'mlp.fc1.bias', 'mlp.fc2.weight', 'mlp.fc2.bias'].forEach((n, k) => {
    const v = phi.get(n)!, one = Number(/norm.*weight/.test(n));
    v.assign(tf.tensor(waves(k, v.size).map((w) => one + 0.1 * w), v.shape));
  });
  const tokens = tf.tensor3d(waves(20, 6 * 2 * 64).map(Math.abs), [6, 2, 64]);
  assert.ok(maxDifference(scoped(() => aggregate(phi, tokens, meta.heads).dataSync().slice(0, 64)), meta.target) < 1e-5);
  scoped(() => {
    const episode = { support, query: { pixels: query, labels: tf.tensor1d(labels.slice(6), 'int32') as Tensor1D }, target: () => aggregate(phi, tokens as Tensor3D, meta.heads) };
    const found = metaGradients(student, theta, phi, episode, meta.alpha, false), grads = new Map([...found.theta, ...found.phi]);
    assert.ok(Math.abs(found.loss.dataSync()[0] - meta.loss) < 1e-5);
    // Ours are differences over a finite way, on a network with kinks.
    for (const [name, norm] of Object.entries(meta.norms)) {
      const g = grads.get(name)!;
      assert.ok(Math.abs(tf.norm(g).dataSync()[0] - norm) < 0.03 * norm + 2e-6, `${name}: ${tf.norm(g).dataSync()[0]} ${norm}`);
      assert.ok(maxDifference(g.dataSync().slice(0, 4), meta.first[name]) < 0.03 * norm + 2e-6, `${name}: ${g.dataSync().slice(0, 4)} ${meta.first[name]}`);
    }
  });
  at.runtime.dispose();
});
