import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { matMulDouble, Rng, svd, tf, useBackend } from '@graft/kernels';
import lora, { pairNames } from '../../src/adapters/lora.js';
import { weightDelta } from '../../src/adapters/low-rank.js';
import { decode } from '../../src/formats/dtype.js';
import type { Graft } from '../../src/formats/graft.js';
import type { TextBatch } from '../../src/models/model.js';
import { openTable } from '../../src/formats/table.js';
import { dataBatches, observeInputs, sameInputs, statistics } from '../../src/init/collect.js';
import corda, { type CordaConfig } from '../../src/init/corda.js';
import { Covariance, MeanMagnitude, orientedSvd } from '../../src/init/covariance.js';
import eva, { type EvaConfig } from '../../src/init/eva.js';
import olora from '../../src/init/olora.js';
import { balanced } from '../../src/init/from-weights.js';
import pissa from '../../src/init/pissa.js';
import truncate, { type TruncateConfig } from '../../src/init/truncate.js';
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

describe('what modules read', () => {
  test('corda by hand: the largest and the smallest component of W C', () => {
    // W = diag(1, 2), C = diag(9, 1): W C = diag(9, 2).
    const C = new Covariance(2, 1e-9);
    C.update(Float32Array.of(3, 0, 0, 1, 3, 0, 0, 1), [2, 2]);
    const { M, inverse } = C.metric({ name: 'x' });
    assert.ok(maxDifference(M, [1, 0, 0, 1 / 9]) < 1e-6, 'each example is divided by its largest entry, the sum by their number');
    assert.ok(maxDifference(inverse, [1, 0, 0, 9]) < 1e-6);
    const d = orientedSvd(Float32Array.of(1, 0, 0, 2), 2, 2, { M: Float64Array.of(9, 0, 0, 1), inverse: Float64Array.of(1 / 9, 0, 0, 1) });
    const part = (from: number): Float64Array => {
      const { A, B } = balanced(d, from, 1, 0.5);
      return matMulDouble(B, A, 2, 1, 2).map((v) => 0.5 * v);
    };
    assert.ok(maxDifference(part(0), [1, 0, 0, 0]) < 1e-6, 'ipm');
    assert.ok(maxDifference(part(1), [0, 0, 0, 2]) < 1e-6, 'kpm');
    const { A, B } = balanced(orientedSvd(Float32Array.of(1, 0, 0, 2), 2, 2, { M: Float64Array.of(1, 0, 0, 1), inverse: Float64Array.of(1, 0, 0, 1) }), 0, 1, 0.5);
    assert.ok(maxDifference(matMulDouble(B, A, 2, 1, 2), [0, 0, 0, 4]) < 1e-6, 'by the weight alone, as PiSSA has it');
  });

  test('the damped covariance has an inverse even of rank one, and of zeros there is none', () => {
    const d = 40, C = new Covariance(d, 0.01);
    C.update(Float32Array.from({ length: d }, (_, i) => i - 7), [1]);
    const { M, inverse } = C.metric({ name: 'x' });
    const product = matMulDouble(M, inverse, d, d, d);
    assert.ok(Math.hypot(...product.map((v, i) => v - (i % (d + 1) === 0 ? 1 : 0))) < 1e-8);
    const nothing = new Covariance(3, 0.01);
    nothing.update(new Float32Array(6), [2]);
    assert.throws(() => nothing.metric({ name: 'layer.0' }), /layer.0 reads nothing but zeros/);
  });

  test('leaving out the least components costs the output less where the covariance says which (CorDA, fig. 2)', () => {
    const m = 40, n = 48, N = 400, rng = new Rng('discard');
    const W = Float32Array.from({ length: m * n }, () => rng.normal());
    const { U: Q } = svd(Float64Array.from({ length: n * n }, () => rng.normal()), n, n);
    const Z = Float64Array.from({ length: N * n }, (_, i) => rng.normal(0, Math.sqrt(Math.exp(-(i % n) / 6))));
    const X = Float32Array.from(matMulDouble(Z, Q, N, n, n));
    const gram = new Covariance(n, 0.01), magnitude = new MeanMagnitude(n, 0.5);
    for (const s of [gram, magnitude]) s.update(X, [N]);
    const identity = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
    const Xt = Float64Array.from({ length: n * N }, (_, i) => X[(i % N) * n + Math.floor(i / N)]);
    const Y = matMulDouble(W, Xt, m, n, N);
    const error = (d: ReturnType<typeof orientedSvd>, k: number): number => {
      const { A, B } = balanced(d, 0, d.k - k, 1);
      const left = matMulDouble(matMulDouble(B, A, m, d.k - k, n), Xt, m, n, N);
      return Math.hypot(...left.map((v, i) => v - Y[i])) ** 2 / Math.hypot(...Y) ** 2;
    };
    const [plain, asvd, cov] = [{ M: identity, inverse: identity }, magnitude.metric(), gram.metric({ name: 'x' })].map((by) => orientedSvd(W, m, n, by));
    const at = (k: number): number[] => [plain, asvd, cov].map((d) => error(d, k));
    for (const k of [8, 16, 24, 32]) {
      const [p, a, c] = at(k);
      assert.ok(c < a && c < p, `dropping ${k}: ${[p, a, c]}`);
    }
    assert.ok(at(16)[2] < at(16)[0] / 2);
  });

  test('statistics come in as many passes as memory needs, and are the same', async () => {
    const { data, sites } = await benchWithData();
    const all = async (memory: number): Promise<{ names: string[]; passes: number; matrices: Float64Array[] }> => {
      let passes = 0;
      const counted = { ...data, batches: () => { passes++; return data.batches(); } };
      const found: { names: string[]; matrix: Float64Array }[] = [];
      for await (const { sites: same, statistic } of statistics(counted, sites, (b) => b.tokens, (d) => new Covariance(d, 0.01), (d) => 8 * d * d, memory)) found.push({ names: same.map((s) => s.name), matrix: statistic.matrix });
      return { names: found.flatMap((f) => f.names), passes, matrices: found.map((f) => f.matrix) };
    };
    const [once, often] = [await all(1 << 20), await all(1)];
    assert.equal(once.passes, 2, 'one to see which modules read the same, one to gather');
    assert.equal(often.passes, 1 + often.matrices.length);
    assert.deepEqual(often.names, once.names);
    assert.deepEqual(often.matrices, once.matrices);
    assert.ok(once.matrices.length < sites.length, 'query and value share');
  });

  test('what modules read of texts without padding is what they read of padded ones, and nothing above the last of them runs', async () => {
    const { data, b } = await benchWithData();
    const seen = async (lengths: boolean, names: { test(name: string): boolean }): Promise<{ name: string; X: Float32Array; lengths: number[] }[]> => {
      const found: { name: string; X: Float32Array; lengths: number[] }[] = [];
      for await (const batch of data.batches()) {
        const { inputs, tokens } = batch as { inputs: TextBatch; tokens: Uint8Array };
        assert.ok(inputs.lengths!.reduce((a, n) => a + n, 0) < 0.95 * tokens.length, 'there is padding');
        // Every other token counts.
        const keep = tokens.map((k, i) => k & (i + 1));
        observeInputs(data.runtime, { ...batch, inputs: lengths ? inputs : { ...inputs, lengths: undefined } }, keep, (s) => names.test(s.name), (s, X, own) => found.push({ name: s.name, X, lengths: own }));
        break;
      }
      return found;
    };
    const [packed, padded] = [await seen(true, /dense|query/), await seen(false, /dense|query/)];
    assert.deepEqual(packed.map((f) => f.name), padded.map((f) => f.name));
    packed.forEach((f, i) => {
      assert.deepEqual(f.lengths, padded[i].lengths);
      assert.ok(maxDifference(f.X, padded[i].X) < 1e-5, f.name);
    });
    const ran: string[] = [];
    await seen(true, { test: (name: string) => { ran.push(name); return name === 'encoder.layer.0.attention.self.key'; } });
    const after = b.model.sites.find((s) => s.name === 'encoder.layer.0.attention.output.dense')!;
    assert.equal(ran.filter((n) => n === after.name).length, 1, 'asked of at the start, and never when it would run');
  });

  test('modules the data never reaches start as LoRA does; where these are all it is said', async () => {
    const { data, run, start, b } = await benchWithData({ targetModules: ['query', 'pooler.dense'] });
    const graft = await run();
    assert.deepEqual(graft.tensors.get('pooler.dense.lora_A0.weight'), start.graft.tensors.get('pooler.dense.lora_A.weight'));
    const act = active(b, lora, graft);
    const pooler = b.model.sites.find((s) => s.name === 'pooler.dense')!;
    const W = b.checkpoint.get(pooler.weight!);
    assert.equal(maxDifference(act.rewritten(pooler, W).dataSync() as Float32Array, W.dataSync() as Float32Array), 0);
    await assert.rejects(sameInputs(data, [pooler], (batch) => batch.tokens), /the data never reaches the modules of this graft/);
  });
});

let small: { path: string; data: string } | undefined;

/** A small model with texts to see. */
async function benchWithData(config: Record<string, unknown> = {}) {
  if (!small) {
    const folder = scratch();
    small = { path: tinyBert(folder), data: jsonLines(join(folder, 'train.jsonl'), tinyRows(48, 1)) };
  }
  const table = await openTable(small.data);
  const runtime = await openRuntime({ model: small.path });
  const b = { checkpoint: runtime.checkpoint, model: runtime.model } as Awaited<ReturnType<typeof bench>>;
  const graft = fresh(b, lora, { rank: 4, alpha: 8, targetModules: ['query', 'value', 'intermediate.dense', 'output.dense'], ...config });
  const data = { runtime, batches: () => dataBatches(runtime, table, { batchSize: 16, seed: 0 }) };
  const start = { graft, model: runtime.model, checkpoint: runtime.checkpoint, seed: 0, data };
  return { b, data, start, sites: lora.sites(b.model, graft.config as never), run: (o: Partial<CordaConfig> = {}) => corda.run(start, { mode: 'ipm', damping: 0.01, niter: 0, ...o }) };
}

describe('corda', () => {
  for (const mode of ['ipm', 'kpm'] as const) {
    test(`${mode}: what is frozen and A₀, B₀ are the weight together`, async () => {
      const { b, run, sites } = await benchWithData();
      const graft = await run({ mode });
      const act = active(b, lora, graft, true);
      for (const site of sites) {
        const W = b.checkpoint.get(site.weight!);
        const p = Object.fromEntries(lora.params(site, act.config as never, b.model).map((s) => [s.name, act.tensors.get(`${site.name}.${s.name}`)!]));
        const delta = weightDelta(site, lora.weightChange!(site, p, act.config as never));
        assert.ok(maxDifference(tf.add(act.rewritten(site, W), delta).dataSync() as Float32Array, W.dataSync() as Float32Array) < 1e-5);
        assert.ok(Math.hypot(...delta.dataSync() as Float32Array) > 1e-4);
      }
      assert.deepEqual((await run({ mode })).tensors, graft.tensors, 'the same data give the same bytes');
    });
  }

  test('the randomised decomposition finds the same part', async () => {
    const { run } = await benchWithData({ targetModules: ['output.dense'] });
    const [exact, random] = [await run(), await run({ niter: 12 })];
    for (const name of exact.tensors.keys()) assert.ok(maxDifference(values(exact, name), values(random, name)) < 1e-3, name);
  });

  test('what it cannot start is refused', async () => {
    const { run } = await benchWithData();
    await assert.rejects(run({ mode: 'kpm', niter: 2 }), /--mode kpm needs the smallest/);
    const tables = await benchWithData({ targetModules: ['word_embeddings'] });
    await assert.rejects(tables.run(), /corda by what modules read is for linear ones; .*word_embeddings is of kind embedding/);
  });
});

describe('truncate', () => {
  const options: TruncateConfig = { metric: 'cov', damping: 0.01, exponent: 0.5 };
  for (const metric of ['plain', 'asvd', 'cov'] as const) {
    test(`${metric}: the change takes the least components out of the weight, whose rank falls by as many`, async () => {
      const { b, start, sites } = await benchWithData();
      const act = active(b, lora, await truncate.run(start, { ...options, metric }));
      const site = sites[0];
      const W = b.checkpoint.get(site.weight!);
      const p = Object.fromEntries(lora.params(site, act.config as never, b.model).map((s) => [s.name, act.tensors.get(`${site.name}.${s.name}`)!]));
      const left = tf.add(W, weightDelta(site, lora.weightChange!(site, p, act.config as never)));
      const S = svd(left.dataSync() as Float32Array, 32, 32).S;
      assert.ok(S[27] > 1e-3 && S[28] < 1e-5, `${S}`);
    });
  }
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
