import { tf, useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { compute, maxDifference, openSmall } from './golden.js';

before(() => useBackend('auto'));

const NAMES = [
  'bert-classify', 'bert-tag', 'bert-mlm', 'roberta-classify', 'roberta-mlm', 'xlm-roberta-tag', 'gpt2-clm', 'gpt2-classify',
  'llama-clm', 'llama3-classify', 'qwen2-clm', 'mistral-clm', 'vit-classify', 'resnet-basic', 'resnet-bottleneck',
];

for (const name of NAMES) {
  test(`${name}: hidden states and logits as transformers computes them`, async () => {
    const { checkpoint, model, golden } = await openSmall(name);
    assert.equal(model.head?.task, golden.head);
    if (model.head!.labels) assert.deepEqual(model.head!.labels, ['red', 'green', 'blue']);
    const first = compute(model, checkpoint, golden, model.head!);
    assert.ok(maxDifference(first.hidden, golden.hidden) <= 2e-5, `hidden: ${maxDifference(first.hidden, golden.hidden)}`);
    assert.ok(maxDifference(first.logits, golden.logits) <= 5e-5, `logits: ${maxDifference(first.logits, golden.logits)}`);
    const tensors = tf.memory().numTensors;
    assert.deepEqual(compute(model, checkpoint, golden, model.head!), first);
    assert.equal(tf.memory().numTensors, tensors, 'a pass leaves no tensors behind');
    checkpoint.close();
  });

  test(`${name}: the head's tensors are those of transformers' class`, async () => {
    const { checkpoint, model, golden } = await openSmall(name);
    const other = { ...model.head!, ...(model.head!.labels ? { labels: ['x', 'y', 'z'] } : {}) };
    const expected = Object.entries(golden.headTensors).filter(([n]) => !checkpoint.has(n) || !/^(cls|lm_head)\./.test(n));
    const tensors = model.headTensors(other);
    assert.deepEqual(new Map(tensors.map((t) => [t.name, t.shape])), new Map(expected));
    assert.ok(tensors.every((t) => t.init !== 'checkpoint'), 'other classes start anew');
    if (other.labels) assert.ok(model.headTensors(model.head!).every((t) => t.init === 'checkpoint'), 'the same classes go on from the checkpoint');
    checkpoint.close();
  });
}
