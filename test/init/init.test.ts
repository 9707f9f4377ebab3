import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { svd, tf, useBackend } from '@graft/kernels';
import lora, { pairNames } from '../../src/adapters/lora.js';
import { weightDelta } from '../../src/adapters/low-rank.js';
import { decode } from '../../src/formats/dtype.js';
import type { Graft } from '../../src/formats/graft.js';
import { openTable } from '../../src/formats/table.js';
import { dataBatches, observeInputs } from '../../src/init/collect.js';
import eva, { type EvaConfig } from '../../src/init/eva.js';
import olora from '../../src/init/olora.js';
import pissa from '../../src/init/pissa.js';
import { openRuntime } from '../../src/runtime.js';
import { active, bench, fresh, logits, randomised } from '../adapters/support.js';
import { maxDifference } from '../models/golden.js';
import { jsonLines, scratch, tinyBert, tinyRows } from '../support/tiny.js';

before(() => useBackend('auto'));

const values = (g: Graft, name: string): Float32Array => decode(g.tensors.get(name)!.data, 'F32') as Float32Array;

describe('pissa', () => {
  for (const [name, config] of [['bert-classify', {}], ['gpt2-clm', { targetModules: ['all-linear'], rank: 4, alpha: 7 }], ['bert-classify', { targetModules: ['word_embeddings'], rank: 3, rslora: true }], ['resnet-basic', { targetModules: ['/.*convolution/'], rank: 3 }]] as const) {
    test(`${name} ${JSON.stringify(config)}: what is frozen and A₀, B₀ are the weight together, and A₀, B₀ its principal part`, async () => {
      const b = await bench(name);
      const plain = fresh(b, lora, { rank: 2, ...config });
      const graft = await pissa.run({ graft: plain, model: b.model, checkpoint: b.checkpoint, seed: 0 }, { niter: 0 });
      const start = active(b, lora, graft, true);
      assert.ok(maxDifference(logits(b, [start]), logits(b)) < 1e-5);
      const sites = lora.sites(b.model, start.config as never);
      for (const site of sites.slice(0, 3)) {
        const W = b.checkpoint.get(site.weight!);
        const residual = start.rewritten(site, W);
        const p = Object.fromEntries(lora.params(site, start.config as never, b.model).map((s) => [s.name, start.tensors.get(`${site.name}.${s.name}`)!]));
        const delta = weightDelta(site, lora.weightChange!(site, p, start.config as never));
        assert.ok(maxDifference(tf.add(residual, delta).dataSync() as Float32Array, W.dataSync() as Float32Array) < 1e-5);
        const [rows, columns] = [W.shape[0], W.size / W.shape[0]];
        const whole = svd(W.dataSync() as Float32Array, rows, columns).S, rest = svd(residual.dataSync() as Float32Array, rows, columns).S;
        const r = p[pairNames(site).A].shape[0];
        assert.ok(Math.abs(rest[0] - whole[r]) < 1e-5, 'the spectral norm of the rest is σ_{r+1}');
        const part = svd(delta.dataSync() as Float32Array, rows, columns).S;
        assert.ok(Math.abs(part[r - 1] - whole[r - 1]) < 1e-4 && part[r] < 1e-5, `its rank is ${r}`);
      }
      assert.equal(start.trained.size, 2 * sites.length, 'A₀ and B₀ are not trained');
    });
  }

  test('a trained graft is the base plus the way it went', async () => {
    const b = await bench('bert-classify');
    const graft = await pissa.run({ graft: fresh(b, lora), model: b.model, checkpoint: b.checkpoint, seed: 0 }, { niter: 3 });
    const moved = randomised(graft);
    // Only A and B have moved.
    for (const [name, t] of graft.tensors) if (/lora_[AB]0/.test(name)) moved.tensors.set(name, t);
    assert.ok(maxDifference(logits(b, [active(b, lora, moved)]), logits(b)) > 1e-3);
    await assert.rejects(pissa.run({ graft, model: b.model, checkpoint: b.checkpoint, seed: 0 }, { niter: 0 }), /already started/);
  });
});

describe('olora', () => {
  for (const [name, config] of [['bert-classify', {}], ['gpt2-clm', { rank: 4, alpha: 7 }], ['bert-classify', { targetModules: ['word_embeddings'], rslora: true }], ['resnet-basic', { targetModules: ['/.*convolution/'] }]] as const) {
    test(`${name} ${JSON.stringify(config)}: B₀ is orthonormal, and with what is frozen B₀A₀ is the weight`, async () => {
      const b = await bench(name);
      const graft = await olora.run({ graft: fresh(b, lora, { rank: 3, ...config }), model: b.model, checkpoint: b.checkpoint, seed: 0 }, {});
      const start = active(b, lora, graft, true);
      assert.ok(maxDifference(logits(b, [start]), logits(b)) < 1e-5);
      const site = lora.sites(b.model, start.config as never)[0];
      const W = b.checkpoint.get(site.weight!);
      const p = Object.fromEntries(lora.params(site, start.config as never, b.model).map((s) => [s.name, start.tensors.get(`${site.name}.${s.name}`)!]));
      const change = lora.weightChange!(site, p, start.config as never);
      assert.ok(maxDifference(tf.matMul(change.B, change.B, true).dataSync() as Float32Array, tf.eye(change.A.shape[0]).dataSync() as Float32Array) < 1e-5);
      assert.ok(maxDifference(tf.add(start.rewritten(site, W), weightDelta(site, change)).dataSync() as Float32Array, W.dataSync() as Float32Array) < 1e-5);
      b.checkpoint.close();
    });
  }

  test('a rank beyond the weight is refused', async () => {
    const b = await bench('bert-classify');
    await assert.rejects(olora.run({ graft: fresh(b, lora, { rank: 100 }), model: b.model, checkpoint: b.checkpoint, seed: 0 }, {}), /olora: rank 100 at .* is more than its/);
  });
});

describe('eva', () => {
  const options: EvaConfig = { rho: 2, tau: 0.99, labelMask: true, whiten: false, adjustScaling: true, maxBatches: 512 };

  async function start(config: Record<string, unknown> = {}): Promise<{ run(o?: Partial<EvaConfig>): Promise<Graft>; b: Awaited<ReturnType<typeof bench>> }> {
    const folder = scratch();
    const path = tinyBert(folder);
    const table = await openTable(jsonLines(join(folder, 'train.jsonl'), tinyRows(160, 1)));
    const runtime = await openRuntime({ model: path });
    const b = { checkpoint: runtime.checkpoint, model: runtime.model } as Awaited<ReturnType<typeof bench>>;
    const graft = fresh(b, lora, { rank: 4, alpha: 8, targetModules: ['query', 'value', 'intermediate.dense', 'output.dense'], ...config });
    const data = { runtime, batches: () => dataBatches(runtime, table, { batchSize: 16, seed: 0 }) };
    return { b, run: (o = {}) => eva.run({ graft, model: runtime.model, checkpoint: runtime.checkpoint, seed: 0, data }, { ...options, ...o }) };
  }

  test('orthonormal A, zero B, ranks that keep the budget, alpha that follows them', async () => {
    const { run, b } = await start({ rank: 9, alpha: 18 });
    const graft = await run();
    const act = active(b, lora, graft);
    const sites = lora.sites(b.model, act.config as never);
    let total = 0;
    for (const site of sites) {
      const { shape } = graft.tensors.get(`${site.name}.lora_A.weight`)!;
      total += shape[0];
      const A = tf.tensor2d(values(graft, `${site.name}.lora_A.weight`), shape as [number, number]);
      assert.ok(maxDifference(tf.matMul(A, A, false, true).dataSync() as Float32Array, tf.eye(shape[0]).dataSync() as Float32Array) < 1e-5);
      assert.ok(values(graft, `${site.name}.lora_B.weight`).every((v) => v === 0));
      assert.equal(lora.weightChange!(site, { 'lora_A.weight': A, 'lora_B.weight': A }, act.config as never).scale, 2, 'alpha / rank is unchanged');
    }
    assert.equal(total, 9 * 10, 'the budget: rank 9 at 2 × 5 modules');
    assert.ok((graft.config.rankPattern as string[]).length > 0, 'some ranks moved');
    act.dispose();
  });

  test('modules that read the same share their components; the same data give the same bytes', async () => {
    const { run } = await start({ targetModules: ['query', 'value'] });
    const [one, two] = [await run({ rho: 1 }), await run({ rho: 1 })];
    assert.equal(one.config.rankPattern, undefined);
    for (const [name, t] of one.tensors) assert.deepEqual(t.data, two.tensors.get(name)!.data);
    const at = 'encoder.layer.0.attention.self';
    assert.deepEqual(values(one, `${at}.query.lora_A.weight`), values(one, `${at}.value.lora_A.weight`));
  });

  test('whitening divides each row by the square root of its singular value', async () => {
    const { run } = await start({ targetModules: ['query'] });
    const [plain, white] = [await run({ rho: 1 }), await run({ rho: 1, whiten: true })];
    const name = 'encoder.layer.1.attention.self.query.lora_A.weight';
    const norms = (g: Graft): number[] => Array.from({ length: 4 }, (_, i) => Math.hypot(...values(g, name).subarray(i * 32, (i + 1) * 32)));
    assert.ok(norms(plain).every((n) => Math.abs(n - 1) < 1e-5));
    assert.ok(norms(white).every((n, i, all) => i === 0 || n > all[i - 1]), 'singular values fall, so norms rise');
  });

  test('padding is not seen: a row gives the same rows however wide its batch', async () => {
    const folder = scratch();
    const runtime = await openRuntime({ model: tinyBert(folder) });
    const rows = [{ text: 'w1 w2 w3' }, { text: 'w4 w5 w6 w7 w8 w9 w10 w11' }];
    const seen = async (batchSize: number): Promise<number[]> => {
      const table = await openTable(jsonLines(join(folder, `${batchSize}.jsonl`), rows));
      const out: number[] = [];
      for await (const batch of dataBatches(runtime, table, { batchSize, seed: 0 })) {
        observeInputs(runtime, batch, batch.tokens, (s) => s.name === 'encoder.layer.1.attention.self.query', (_, X) => out.push(...X));
      }
      return out;
    };
    const [alone, together] = [await seen(1), await seen(2)];
    assert.equal(alone.length, (5 + 10) * 32);
    assert.ok(maxDifference(alone, together) < 1e-5);
  });
});
