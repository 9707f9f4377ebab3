import assert from 'node:assert/strict';
import { test } from 'node:test';
import adalora from '../../src/adapters/adalora.js';
import bitfit from '../../src/adapters/bitfit.js';
import bottleneck from '../../src/adapters/bottleneck.js';
import codyra from '../../src/adapters/codyra.js';
import dora from '../../src/adapters/dora.js';
import hydra from '../../src/adapters/hydra.js';
import ia3 from '../../src/adapters/ia3.js';
import increlora from '../../src/adapters/increlora.js';
import flora from '../../src/adapters/flora.js';
import { countSpecs, defaults, ownedTensors } from '../../src/adapters/instantiate.js';
import loha from '../../src/adapters/loha.js';
import lokr, { factorization } from '../../src/adapters/lokr.js';
import lora from '../../src/adapters/lora.js';
import type { Method, TensorShapes } from '../../src/adapters/method.js';
import poly from '../../src/adapters/poly.js';
import prefix from '../../src/adapters/prefix.js';
import prompt from '../../src/adapters/prompt.js';
import triadaptlora from '../../src/adapters/triadaptlora.js';
import vera from '../../src/adapters/vera.js';
import type { Model } from '../../src/models/model.js';
import type { Headers } from '../../src/models/modules.js';
import { loadModel } from '../../src/models/registry.js';

/** BERT of a published size, from the names and shapes of its tensors alone. */
async function bertOf(d: number, layers: number, inner = 4 * d): Promise<{ model: Model; base: TensorShapes }> {
  const shapes = new Map<string, number[]>();
  const dense = (name: string, out: number, dimIn: number): void => { shapes.set(`${name}.weight`, [out, dimIn]).set(`${name}.bias`, [out]); };
  const norm = (name: string): void => { shapes.set(`${name}.weight`, [d]).set(`${name}.bias`, [d]); };
  for (const [name, rows] of [['word', 30522], ['position', 512], ['token_type', 2]] as const) shapes.set(`embeddings.${name}_embeddings.weight`, [rows, d]);
  norm('embeddings.LayerNorm');
  for (let i = 0; i < layers; i++) {
    const at = `encoder.layer.${i}`;
    for (const part of ['query', 'key', 'value']) dense(`${at}.attention.self.${part}`, d, d);
    dense(`${at}.attention.output.dense`, d, d);
    norm(`${at}.attention.output.LayerNorm`);
    dense(`${at}.intermediate.dense`, inner, d);
    dense(`${at}.output.dense`, d, inner);
    norm(`${at}.output.LayerNorm`);
  }
  dense('pooler.dense', d, d);
  const config = { model_type: 'bert', hidden_size: d, num_hidden_layers: layers, num_attention_heads: d / 64, intermediate_size: inner };
  const headers = { path: 'bert', config, has: (n: string) => shapes.has(n), info: (n: string) => ({ name: n, dtype: 'F32', shape: shapes.get(n)!, offset: 0, length: 0 }) } as Headers;
  return { model: await loadModel(headers), base: { names: () => shapes.keys(), shape: (n) => shapes.get(n) } };
}

function count({ model, base }: { model: Model; base: TensorShapes }, method: Method<any>, config: Record<string, unknown> = {}, of: (name: string) => boolean = () => true): number { // eslint-disable-line @typescript-eslint/no-explicit-any
  const filled = { ...defaults(method.options), ...config };
  const specs = ownedTensors(method, method.resolve?.(filled, { model }) ?? filled, model, null, base);
  return countSpecs(new Map([...specs].filter(([name]) => of(name))));
}

test('parameters of the published configurations', async () => {
  const base = await bertOf(768, 12), large = await bertOf(1024, 24);
  assert.equal(count(base, bottleneck, { preset: 'houlsby', width: 48 }), 1_789_056);
  assert.equal(count(base, bottleneck, { preset: 'houlsby' }), 1_789_056, 'reduction factor 16');
  assert.equal(count(base, bottleneck, { preset: 'pfeiffer' }), 894_528);
  assert.equal(count(base, bottleneck, { preset: 'adaptformer' }), 1_189_632);
  // MAM on RoBERTa-base: prefix of 16 and a scaled parallel adapter of 16.
  assert.equal(count(base, prefix, { tokens: 16 }) + count(base, bottleneck, { preset: 'parallel', width: 16 }), 599_232);
  assert.equal(count(large, prefix, { tokens: 20 }), 983_040);
  assert.equal(count(base, prompt, { tokens: 20 }), 15_360);
  const encoder = (name: string): boolean => name.startsWith('encoder.');
  assert.equal(count(base, bitfit, {}, encoder), 101_376);
  assert.equal(count(large, bitfit, {}, encoder), 270_336);
  assert.equal(count(base, lora, { rank: 8 }), 12 * 2 * 8 * (768 + 768));
  assert.equal(count(base, lora, { rank: 4, targetModules: ['all-linear'] }), 12 * 4 * (4 * 1536 + 2 * (768 + 3072)) + 4 * 1536, 'blocks and pooler');
});

test('parameters of the low-rank family follow its closed forms', async () => {
  const base = await bertOf(768, 12);
  const d = 768, sites = 24;
  assert.equal(count(base, dora, { rank: 8 }), sites * (8 * 2 * d + d));
  assert.equal(count(base, adalora, { rank: 12 }), sites * 12 * (2 * d + 1));
  assert.equal(count(base, increlora, { targetRank: 4 }), sites * (2 * d + 1 + 2 * 2 * d), 'one rank, and two in reserve');
  assert.equal(count(base, triadaptlora, { rank: 3 }), sites * (3 * 2 * d + 2 * 3 * 3), 'a block of three');
  assert.equal(count(base, codyra), sites * 16 * (2 * d + 1));
  assert.equal(count(base, hydra), 12 * (4 * (d + 4 * d) + 2 * 8 * d));
  assert.equal(count(base, hydra, { bias: true }) - count(base, hydra), 12 * (4 + 8 + 2 * d));
  assert.equal(count(base, vera), sites * (256 + d));
  assert.equal(count(base, ia3), 12 * (d + d + d + 4 * d), 'keys, values, and what both output.dense read');
  assert.equal(count(base, loha, { rank: 4 }), sites * 2 * 4 * 2 * d);
  assert.equal(count(base, lokr, { rank: 4 }), sites * (24 * 24 + 4 * (32 + 32)), '768 = 24·32');
  assert.equal(count(base, lokr, { rank: 4, decomposeBoth: true }), sites * (4 * (24 + 24) + 4 * (32 + 32)));
  assert.equal(count(base, flora, { ranks: [4, 3] }), sites * (4 * 3 + (4 + 3) * d));
  assert.equal(count(base, poly, { rank: 2, skills: 8, splits: 4, tasks: ['a', 'b', 'c'] }), sites * (8 * 2 * 2 * d + 3 * 4 * 8));
});

test('sizes factorise as in LyCORIS', () => {
  assert.deepEqual([[256, -1], [128, -1], [127, -1], [128, 4], [768, -1], [30, 4]].map(([n, f]) => factorization(n, f)), [[16, 16], [8, 16], [1, 127], [4, 32], [24, 32], [3, 10]]);
});

test('a reparametrised prefix counts its network while it trains', async () => {
  const base = await bertOf(768, 12);
  assert.equal(count(base, prefix, { tokens: 16, projection: true, hidden: 800 }), 16 * 768 + (768 + 1) * 800 + (800 + 1) * 2 * 12 * 768);
});
