import { crossEntropy, tf, useBackend, type Tensor1D, type Tensor4D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { STORED } from '../../src/tta/statistics.js';
import { Source } from '../../src/tta/network.js';
import { readBlocks, resized } from '../../src/models/segment-head.js';
import { maxDifference, openSmall, type Golden } from './golden.js';

before(() => useBackend('auto'));

for (const name of ['vit-segment', 'resnet-segment']) {
  test(`${name}: logits of every pixel and gradients as PyTorch computes them`, async () => {
    const { checkpoint, model, golden } = await openSmall(name) as Awaited<ReturnType<typeof openSmall>> & { golden: Golden & { labels: number[]; gradients: Record<string, number[]> } };
    assert.deepEqual(model.head, { task: 'segment', labels: ['ground', 'tree', 'car', 'sky'] });
    const network = new Source(model, checkpoint, [], model.head!).copy(Object.keys(golden.gradients), STORED);
    const x = tf.tensor4d(golden.pixels!, golden.shape), maps = tf.tidy(() => network.maps(x));
    assert.deepEqual(maps.shape, [...golden.shape!.slice(0, 3), 4]);
    assert.ok(maxDifference(maps.dataSync(), golden.logits) <= 5e-5, `logits: ${maxDifference(maps.dataSync(), golden.logits)}`);
    const { grads } = network.gradients(() => {
      const loss = tf.mean(crossEntropy(network.logits(x), tf.tensor1d(golden.labels, 'int32') as Tensor1D));
      return { loss, kept: loss };
    });
    for (const [weight, expected] of Object.entries(golden.gradients)) {
      const off = maxDifference(grads.get(weight)!.dataSync(), expected), size = Math.max(...expected.map(Math.abs));
      assert.ok(size > 1e-4 && off <= 1e-4 * size + 1e-6, `${weight}: ${off} of ${size}`);
    }
    network.dispose();
    checkpoint.close();
  });

  test(`${name}: a graft brings the whole head, its statistics untrained`, async () => {
    const { checkpoint, model, golden } = await openSmall(name);
    const tensors = model.headTensors({ task: 'segment', labels: ['a', 'b', 'c', 'd'] });
    assert.deepEqual(new Map(tensors.map((t) => [t.name, t.shape])), new Map(Object.entries(golden.headTensors)));
    assert.deepEqual(tensors.filter((t) => t.fixed).map((t) => t.name), tensors.map((t) => t.name).filter((n) => /running_/.test(n)));
    assert.ok(model.headTensors(model.head!).every((t) => t.init === 'checkpoint'), 'the same classes go on from the checkpoint');
    checkpoint.close();
  });
}

test('the head of a transformer reads four blocks, the last among them, or as many as there are', () => {
  assert.deepEqual(readBlocks(12), [2, 5, 8, 11]);
  assert.deepEqual(readBlocks(2), [0, 1]);
});

test('enlarging is bilinear between the centres of pixels: hand-worked', () => {
  const x = tf.tensor4d([0, 4, 8, 12], [1, 2, 2, 1]);
  assert.deepEqual([...resized(x, 2, 4).dataSync()], [0, 1, 3, 4, 8, 9, 11, 12]);
  assert.deepEqual([...resized(tf.tensor4d([0, 1, 2, 3], [1, 1, 4, 1]) as Tensor4D, 1, 2).dataSync()], [0.5, 2.5]);
});
