import { tf, useBackend, type Scalar, type Tensor, type Tensor2D, type Variable } from '@graft/kernels';
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { ActiveGraft } from '../../src/adapters/active.js';
import { Forward } from '../../src/models/forward.js';
import type { Model } from '../../src/models/model.js';
import type { Site, Tokens } from '../../src/models/site.js';
import type { Checkpoint } from '../../src/formats/checkpoint.js';
import { batchOf, compute, maxDifference, openSmall, type Golden } from './golden.js';

before(() => useBackend('auto'));

/** A graft that replaces whole weights and may put prompts before the tokens. */
function replacing(weights: Map<string, Tensor>, first: number, prompts?: Tensor): ActiveGraft {
  const tokensChange = prompts && (() => (t: Tokens): Tokens => {
    const [B, , d] = t.x.shape as number[], n = prompts.shape[0];
    const wide = tf.tile(tf.reshape(prompts, [1, n, d]), [B, 1, 1]);
    return { x: tf.concat([wide, t.x], 1), mask: t.mask && (tf.concat([tf.ones([B, n]), t.mask], 1) as Tensor2D), prompts: t.prompts + n };
  });
  return {
    method: {}, positionOffset: 0, changes: () => false, replacement: (n: string) => weights.get(n), rewritten: (_: Site, W: Tensor) => W,
    change: () => undefined, attentionChange: () => undefined, tokensChange: tokensChange ?? (() => undefined), firstTrainedLayer: () => first,
  } as unknown as ActiveGraft;
}

/** A loss that is a fixed random projection of the logits. */
function loss(model: Model, checkpoint: Checkpoint, golden: Golden, graft: ActiveGraft): Scalar {
  const f = new Forward(model.sites, checkpoint, [graft]);
  const logits = model.logits(f, model.backbone(f, batchOf(golden)), model.head!);
  const weights = Float32Array.from({ length: logits.size }, (_, i) => Math.sin(1 + i));
  return tf.mean(tf.mul(logits, tf.tensor(weights, logits.shape)));
}

/** Name of a weight in the first and in the last block. */
const CASES: Record<string, [string, string]> = {
  'bert-classify': ['bert.encoder.layer.0.attention.self.query.weight', 'bert.encoder.layer.1.output.dense.weight'],
  'gpt2-clm': ['transformer.h.0.attn.c_attn.weight', 'transformer.h.1.mlp.c_proj.weight'],
  'llama-clm': ['model.layers.0.self_attn.k_proj.weight', 'model.layers.1.mlp.gate_proj.weight'],
  'vit-classify': ['vit.encoder.layer.0.attention.attention.value.weight', 'vit.encoder.layer.1.layernorm_after.weight'],
  'resnet-basic': ['resnet.encoder.stages.0.layers.0.layer.0.convolution.weight', 'resnet.encoder.stages.1.layers.1.layer.1.normalization.weight'],
};

for (const [name, [low, high]] of Object.entries(CASES)) {
  test(`${name}: gradients through the blocks, and the same ones with the part below off the tape`, async () => {
    const { checkpoint, model, golden } = await openSmall(name);
    const variables = new Map([low, high].map((n): [string, Variable] => [n, tf.variable(checkpoint.tensor(n))]));
    const gradients = (names: string[], first: number): Float32Array[] => {
      const list = names.map((n) => variables.get(n)!);
      const { grads, value } = tf.variableGrads(() => loss(model, checkpoint, golden, replacing(variables, first)), list);
      const out = list.map((v) => grads[v.name].dataSync().slice() as Float32Array);
      tf.dispose([grads, value]);
      return out;
    };
    const [gLow, gHigh] = gradients([low, high], 0);
    const tensors = tf.memory().numTensors;
    const last = model.sites.find((s) => s.weight === high)!.layer;
    assert.ok(maxDifference(gradients([high], last)[0], gHigh) <= 1e-6 * Math.max(...gHigh.map(Math.abs)), 'off the tape below');
    assert.equal(tf.memory().numTensors, tensors, 'no tensors left');
    for (const [n, g] of [[low, gLow], [high, gHigh]] as const) checkDirection(model, checkpoint, golden, variables, n, g);
    for (const v of variables.values()) v.dispose();
    checkpoint.close();
  });
}

/** Along its own direction the gradient g predicts the central difference |g|². */
function checkDirection(model: Model, checkpoint: Checkpoint, golden: Golden, variables: Map<string, Variable>, name: string, g: Float32Array): void {
  const norm = Math.sqrt(g.reduce((s, x) => s + x * x, 0));
  assert.ok(norm > 0, `${name}: gradient is zero`);
  const step = 2e-3;
  const at = (sign: number): number => tf.tidy(() => {
    const moved = new Map<string, Tensor>(variables);
    moved.set(name, tf.add(variables.get(name)!, tf.tensor(g.map((x) => (sign * step * x) / norm), variables.get(name)!.shape)));
    return loss(model, checkpoint, golden, replacing(moved, Infinity)).dataSync()[0];
  });
  const slope = (at(1) - at(-1)) / (2 * step);
  assert.ok(Math.abs(slope - norm) <= 0.03 * norm + 1e-5, `${name}: slope ${slope}, gradient ${norm}`);
}

for (const name of ['bert-tag', 'roberta-mlm', 'gpt2-clm', 'llama-clm', 'vit-classify']) {
  test(`${name}: prompts reach the output, get gradients, and leave the features' positions alone`, async () => {
    const { checkpoint, model, golden } = await openSmall(name);
    const d = model.hiddenSize;
    const prompts = tf.variable(tf.tensor2d(Float32Array.from({ length: 3 * d }, (_, i) => Math.cos(i)), [3, d]));
    const graft = replacing(new Map(), -1, prompts);
    const plain = compute(model, checkpoint, golden, model.head!);
    const prompted = compute(model, checkpoint, golden, model.head!, [graft]);
    assert.equal(prompted.hidden.length, plain.hidden.length);
    assert.ok(maxDifference(prompted.logits, plain.logits) > 1e-3, 'prompts change the output');
    const { grads, value } = tf.variableGrads(() => loss(model, checkpoint, golden, graft), [prompts]);
    assert.ok(grads[prompts.name].dataSync().some((x) => Math.abs(x) > 1e-7));
    tf.dispose([grads, value]);
    const swapped = tf.tidy(() => tf.keep(tf.reverse(prompts, 0)));
    const moved = maxDifference(compute(model, checkpoint, golden, model.head!, [replacing(new Map(), -1, swapped)]).logits, prompted.logits);
    if (model.input === 'image') assert.ok(moved <= 1e-5, `order of prompts that carry no positions: ${moved}`);
    else assert.ok(moved > 1e-5, `order of prompts with positions: ${moved}`);
    tf.dispose([prompts, swapped]);
    checkpoint.close();
  });
}

test('a sequence with its prompts must fit the position table', async () => {
  const { checkpoint, model, golden } = await openSmall('bert-tag');
  const prompts = tf.zeros([10, model.hiddenSize]);
  assert.throws(() => compute(model, checkpoint, golden, model.head!, [replacing(new Map(), -1, prompts)]), /21 tokens \(prompts included\) do not fit: the model has 20 positions/);
  prompts.dispose();
  checkpoint.close();
});

test('a row computed beside longer ones is the row computed alone', async () => {
  for (const name of ['bert-classify', 'roberta-classify', 'gpt2-classify', 'llama3-classify']) {
    const { checkpoint, model, golden } = await openSmall(name);
    const all = compute(model, checkpoint, golden, model.head!).logits;
    golden.input_ids!.forEach((ids, b) => {
      const n = golden.attention_mask![b].reduce((s, m) => s + m, 0);
      const alone: Golden = { ...golden, input_ids: [ids.slice(0, n)], attention_mask: [Array(n).fill(1)], token_type_ids: golden.token_type_ids && [golden.token_type_ids[b].slice(0, n)] };
      assert.ok(maxDifference(compute(model, checkpoint, alone, model.head!).logits, all.subarray(b * 3, b * 3 + 3)) <= 1e-5, name);
    });
    checkpoint.close();
  }
});
