import { tf, useBackend, variableGradients, type Scalar, type Tensor, type Variable } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { ActiveGraft } from '../../src/adapters/active.js';
import { blankModel } from '../../src/models/blank.js';
import { Forward, type WeightSource } from '../../src/models/forward.js';
import type { Model, NoiseBatch } from '../../src/models/model.js';
import { loadModel } from '../../src/models/registry.js';
import { overlay } from '../adapters/support.js';
import { batchOf, maxDifference, openSmall } from './golden.js';

before(() => useBackend('auto'));

const NAMES = ['unet-attends', 'unet-linear', 'unet-plain'];

async function open(name: string) {
  const opened = await openSmall(name);
  return { ...opened, batch: () => batchOf(opened.golden) as NoiseBatch };
}

/** Changes nothing, but has everything recorded for gradients. */
const trained = {
  method: {}, positionOffset: 0, changes: () => false, replacement: () => undefined, rewritten: (_: unknown, W: Tensor) => W,
  change: () => undefined, attentionChange: () => undefined, firstTrainedLayer: () => -1,
} as unknown as ActiveGraft;

const noise = (model: Model, weights: WeightSource, batch: NoiseBatch, grafts: ActiveGraft[] = []): Tensor => {
  const f = new Forward(model.sites, weights, grafts);
  return model.logits(f, model.backbone(f, batch), { task: 'diffusion' });
};
const values = (t: Tensor): Float32Array => t.dataSync().slice() as Float32Array;

for (const name of NAMES) {
  test(`${name}: the noise that diffusers predicts`, async () => {
    const { checkpoint, model, golden, batch } = await open(name);
    assert.deepEqual(model.head, { task: 'diffusion', labels: name === 'unet-plain' ? [] : ['red', 'green', 'blue'] });
    const before = tf.memory().numTensors;
    const found = tf.tidy(() => values(noise(model, checkpoint, batch())));
    assert.ok(maxDifference(found, golden.logits) <= 2e-5 * Math.max(...golden.logits.map(Math.abs)), `differs by ${maxDifference(found, golden.logits)}`);
    tf.tidy(() => noise(model, checkpoint, batch()).dataSync());
    assert.ok(tf.memory().numTensors - before <= checkpoint.names().length, 'a pass leaves no tensors but the weights behind');
    checkpoint.close();
  });

  test(`${name}: a blank model has the tensors of diffusers' and the table of conditions`, async () => {
    const { checkpoint } = await open(name);
    const blank = await blankModel(checkpoint.config, 1);
    assert.deepEqual(Object.fromEntries(blank.map((t) => [t.name, t.shape]).sort()), Object.fromEntries(checkpoint.names().map((n) => [n, checkpoint.info(n).shape]).sort()));
    checkpoint.close();
  });

  test(`${name}: the gradient of every weight predicts the difference along it`, async () => {
    const { checkpoint, model, golden, batch } = await open(name);
    const names = checkpoint.names().filter((n) => /down_blocks.0.resnets.0.conv1.weight|attn2.to_k.weight|time_embedding.linear_1.weight|conv_shortcut.weight|samplers.0.conv.weight|embedding.weight|norm1.weight/.test(n));
    const variables = new Map(names.map((n): [string, Variable] => [n, tf.variable(checkpoint.tensor(n))]));
    const weighting = tf.tensor(Float32Array.from(golden.logits, (_, i) => Math.sin(1 + i)), golden.shape);
    const loss = (weights: ReadonlyMap<string, Tensor>): Scalar => {
      return tf.mean(tf.mul(noise(model, overlay(checkpoint, weights), batch(), [trained]), weighting)) as Scalar;
    };
    const { grads } = variableGradients(() => loss(variables), [...variables.values()]);
    for (const [n, v] of variables) {
      const g = values(grads.get(v)!), norm = Math.sqrt(g.reduce((s, a) => s + a * a, 0));
      const at = (h: number): number => tf.tidy(() => loss(new Map([...variables, [n, tf.add(v, tf.tensor(g.map((a) => (h * a) / norm), v.shape))]])).dataSync()[0]);
      const slope = (at(5e-3) - at(-5e-3)) / 1e-2;
      assert.ok(Math.abs(slope - norm) <= 0.03 * norm + 1e-5, `${n}: slope ${slope}, gradient ${norm}`);
    }
    checkpoint.close();
  });
}

test('rows of the table are conditions, the last of them none, and a mask hides what stands beside', async () => {
  const { checkpoint, model, batch } = await open('unet-attends');
  const ids = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32');
  const given = (more: Partial<NoiseBatch>): Float32Array => {
    const { ids: _, ...plain } = batch();
    return values(noise(model, checkpoint, { ...plain, ...more }));
  };
  const table = checkpoint.tensor('cond_stage_model.embedding.weight');
  assert.equal(maxDifference(given({}), given({ ids: ids([[3], [3]]) })), 0);
  assert.ok(maxDifference(given({}), given({ ids: ids([[0], [3]]) })) > 1e-3);
  assert.ok(maxDifference(given({ ids: ids([[0], [2]]) }), given({ context: tf.gather(table, ids([[0], [2]])) })) === 0);
  assert.ok(maxDifference(given({ ids: ids([[0], [2]]) }), given({ ids: ids([[0, 1], [2, 3]]), mask: tf.tensor2d([[1, 0], [1, 0]]) })) < 1e-5);
  checkpoint.close();
});

test('what UNet2DConditionModel can be otherwise is refused by name', async () => {
  const { checkpoint } = await openSmall('unet-attends');
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ class_embed_type: 'timestep' }, /'class_embed_type' is "timestep"; of UNet2DConditionModel only null is built/],
    [{ down_block_types: ['DownBlock2D', 'AttnDownBlock2D'] }, /'down_block_types' is .*, it must list 2 of DownBlock2D and CrossAttnDownBlock2D/],
    [{ mid_block_type: 'UNetMidBlock2DSimpleCrossAttn' }, /'mid_block_type' is .*it must be/], [{ sample_size: 9 }, /'sample_size' is 9, it must be a multiple of 2/],
    [{ norm_num_groups: 5 }, /'norm_num_groups' is 5, which does not divide the channels 8, 12/], [{ out_channels: 6 }, /'out_channels' is 6, but there are 3 in_channels/],
    [{ attention_head_dim: [2] }, /it must be one number or 2/],
  ];
  for (const [change, message] of cases) await assert.rejects(loadModel({ path: '.', config: { ...checkpoint.config, ...change }, blank: true, has: () => false, info: () => { throw new Error(); } }), message);
  const bare = { path: checkpoint.path, config: checkpoint.config, has: (n: string) => !n.startsWith('cond_stage') && checkpoint.has(n), info: (n: string) => checkpoint.info(n) };
  const model = await loadModel(bare);
  assert.throws(() => noise(model, checkpoint, { kind: 'noise', x: tf.zeros([1, 8, 8, 3]), t: tf.zeros([1]) }), /has no table of conditions/);
  checkpoint.close();
});
