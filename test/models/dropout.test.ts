import { tf, useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import lora from '../../src/adapters/lora.js';
import { Forward, type ForwardOptions } from '../../src/models/forward.js';
import { loadModel } from '../../src/models/registry.js';
import { active, bench, fresh, randomised } from '../adapters/support.js';
import { compute, maxDifference, openSmall, ROOT } from './golden.js';

before(() => useBackend('auto'));

const golden = JSON.parse(readFileSync(join(ROOT, 'test/golden/dropout.json'), 'utf8')) as { seed: number; step: number; models: Record<string, { config: object; logits: number[] }> };
const TRAINING: ForwardOptions = { train: true, modelDropout: true, seed: golden.seed, step: golden.step };

for (const [name, { config, logits: expected }] of Object.entries(golden.models)) {
  test(`${name}: drops where transformers does, at its rates`, async () => {
    const { checkpoint, golden: given } = await openSmall(name);
    const rated = Object.assign(Object.create(checkpoint) as typeof checkpoint, { config: { ...checkpoint.config, ...config } });
    const model = await loadModel(rated);
    const run = (options: ForwardOptions): Float32Array => compute(model, checkpoint, given, model.head!, [], options).logits.subarray(0, expected.length);
    const dropped = run(TRAINING);
    assert.ok(maxDifference(dropped, expected) <= 5e-5, `logits: ${maxDifference(dropped, expected)}`);
    assert.deepEqual(run(TRAINING), dropped);
    const whole = run({});
    assert.ok(maxDifference(whole, dropped) > 1e-2);
    for (const other of [{ seed: golden.seed + 1 }, { step: golden.step + 1 }]) assert.ok(maxDifference(run({ ...TRAINING, ...other }), dropped) > 1e-2);
    for (const off of [{ train: false }, { modelDropout: false }]) assert.deepEqual(run({ ...TRAINING, ...off }), whole);
    checkpoint.close();
  });
}

test('below the first trained layer values are dropped all the same, and nothing is recorded', async () => {
  const b = await bench('bert-classify');
  const graft = active(b, lora, randomised(fresh(b, lora, { targetModules: ['encoder.layer.1.attention.self.query'] })), true);
  const everywhere = Object.assign(Object.create(graft) as typeof graft, { firstTrainedLayer: () => -1 });
  const [recorded, lean] = [everywhere, graft].map((g) => {
    const { value, grads } = tf.variableGrads(() => {
      const f = new Forward(b.model.sites, b.checkpoint, [g], TRAINING);
      return tf.mean(tf.square(b.model.logits(f, b.model.backbone(f, b.batch), b.head))) as tf.Scalar;
    }, [...graft.trained.values()]);
    return [value, ...Object.values(grads)].map((t) => [...t.dataSync()]);
  });
  assert.ok(recorded.length === 3 && recorded.every((t) => t.some((v) => v !== 0)));
  assert.deepEqual(lean, recorded);
});

test('a rate that is none is refused', async () => {
  const { checkpoint } = await openSmall('bert-classify');
  const broken = Object.assign(Object.create(checkpoint) as typeof checkpoint, { config: { ...checkpoint.config, hidden_dropout_prob: 1.5 } });
  await assert.rejects(loadModel(broken), /hidden_dropout_prob is 1.5, not a rate between 0 and 1/);
});
