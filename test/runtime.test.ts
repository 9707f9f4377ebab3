import { tf, useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { baseOf } from '../src/adapters/base.js';
import { createGraft } from '../src/adapters/instantiate.js';
import { loadMethod } from '../src/adapters/registry.js';
import { openCheckpoint } from '../src/formats/checkpoint.js';
import type { Graft } from '../src/formats/graft.js';
import type { Head } from '../src/models/model.js';
import { loadModel } from '../src/models/registry.js';
import { openRuntime } from '../src/runtime.js';
import { batchOf, maxDifference, readGolden, ROOT, type Golden } from './models/golden.js';

before(() => useBackend('auto'));

const model = (name: string): string => join(ROOT, 'test/golden/models', name);

async function newGraft(name: string, method: string, head: Head | null, seed = 1): Promise<Graft> {
  const checkpoint = await openCheckpoint(model(name));
  const graft = createGraft({
    method: await loadMethod(method), config: {}, model: await loadModel(checkpoint), base: baseOf(checkpoint), fingerprint: checkpoint.fingerprint(), head, seed, history: [],
  });
  checkpoint.close();
  return graft;
}

test('a checkpoint runs with its own head; an untrained LoRA leaves its logits as they are', async () => {
  const golden = readGolden<Golden>('bert-classify');
  const lora = await newGraft('bert-classify', 'lora', null);
  const before = tf.memory().numTensors;
  for (const grafts of [[], [lora], [lora, lora]]) {
    const runtime = await openRuntime({ model: model('bert-classify'), grafts });
    assert.deepEqual(runtime.head, { task: 'classify', labels: ['red', 'green', 'blue'] });
    const logits = tf.tidy(() => runtime.logits(batchOf(golden)).dataSync().slice());
    assert.ok(maxDifference(logits, golden.logits) <= 5e-5);
    runtime.dispose();
  }
  assert.equal(tf.memory().numTensors, before, 'nothing is left when a runtime is disposed of');
});

test('the last graft that brings a head decides the task; a head of the same classes starts as the checkpoint\'s own', async () => {
  const golden = readGolden<Golden>('bert-classify');
  const same = await newGraft('bert-classify', 'lora', { task: 'classify', labels: ['red', 'green', 'blue'] });
  assert.ok(same.tensors.has('classifier.weight'));
  const five = await newGraft('bert-classify', 'linear', { task: 'tag', labels: ['O', 'B-x', 'I-x', 'B-y', 'I-y'] });
  const first = await openRuntime({ model: model('bert-classify'), grafts: [same] });
  assert.ok(maxDifference(tf.tidy(() => first.logits(batchOf(golden)).dataSync().slice()), golden.logits) <= 5e-5);
  first.dispose();
  const second = await openRuntime({ model: model('bert-classify'), grafts: [same, five] });
  assert.equal(second.head!.task, 'tag');
  assert.deepEqual(tf.tidy(() => second.logits(batchOf(golden)).shape), [3, 11, 5]);
  second.dispose();
});

test('only the last graft is trained', async () => {
  const lora = await newGraft('gpt2-clm', 'lora', null);
  const runtime = await openRuntime({ model: model('gpt2-clm'), grafts: [lora, lora], trainable: true });
  assert.equal(runtime.grafts[0].trained.size, 0);
  assert.ok(runtime.grafts[1].trained.size > 0);
  runtime.dispose();
});

test('what is missing is said in one line', async () => {
  const bare = await openRuntime({ model: model('bert-classify') });
  assert.throws(() => bare.tokenizer, /has no tokenizer.json/);
  bare.dispose();
  await assert.rejects(openRuntime({ model: model('nowhere') }), { status: 66 });
  const gpt2 = await newGraft('gpt2-clm', 'lora', null);
  await assert.rejects(openRuntime({ model: model('bert-classify'), grafts: [gpt2] }), { status: 65 });
});
