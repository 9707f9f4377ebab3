import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linear, openMapped, tf, type Activation } from '../src/index.js';
import { agrees, gradientHolds, random, skip, start } from './against.js';

before(start);

const ACTIVATIONS: Activation[] = ['none', 'relu', 'gelu', 'gelu_new', 'silu', 'tanh', 'sigmoid'];

for (const layout of ['oi', 'io'] as const)
  test(`linear (${layout}): values and gradients with every activation`, { skip }, () => {
    const inputs = [random([2, 3, 9]), random(layout === 'oi' ? [37, 9] : [9, 37]), random([37])];
    for (const activation of ACTIVATIONS) {
      const f = (x: tf.Tensor, W: tf.Tensor, b: tf.Tensor): tf.Tensor => linear(x, W as tf.Tensor2D, b as tf.Tensor1D, { layout, activation });
      agrees(`linear ${activation}`, f, inputs, { tolerance: 1e-5 });
      agrees(`gradients ${activation}`, (x, W, b) => tf.grads(f)([x, W, b]), inputs, { tolerance: 1e-4 });
      if (activation !== 'relu') gradientHolds(`linear ${activation}`, f, inputs);
    }
    agrees('linear without bias', (x, W) => linear(x, W as tf.Tensor2D, null, { layout }), inputs.slice(0, 2), { tolerance: 1e-5 });
  });

test('mapped bf16 weights: the same results in both directions, packed once and freed with the weight', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-'));
  try {
    const [out, width] = [50, 401];
    const halves = Uint16Array.from({ length: out * width }, (_, i) => 0x3f00 + ((i * 7919) % 256) + (i % 3 ? 0x8000 : 0));
    writeFileSync(join(dir, 'w'), halves);
    const file = openMapped(join(dir, 'w'));
    const W = file.tensor(0, [out, width], 'BF16') as tf.Tensor2D;
    file.close();
    const plain = tf.tensor2d(W.dataSync(), [out, width]);
    const x = tf.tensor(random([5, width]).values, [5, width]);
    const packed = (): number => (tf.backend().memory() as unknown as { packed: number }).packed;
    const both = (weight: tf.Tensor2D): tf.Tensor[] => {
      const { value, grad } = tf.valueAndGrad((t: tf.Tensor) => tf.sum(tf.square(linear(t, weight))))(x);
      return [value, grad];
    };
    const want = both(plain);
    const got = both(W);
    const once = packed();
    assert.ok(once > 0);
    tf.dispose(both(W));
    assert.equal(packed(), once);
    got.forEach((t, i) => assert.deepEqual(t.dataSync(), want[i].dataSync()));
    W.dispose();
    assert.equal(packed(), 0);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
