import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { qr, svd, tf, useBackend, type Tensor2D } from '@graft/kernels';
import { createGraft } from '../../src/adapters/instantiate.js';
import loha from '../../src/adapters/loha.js';
import lora, { type LoraConfig } from '../../src/adapters/lora.js';
import { weightDelta } from '../../src/adapters/low-rank.js';
import pela from '../../src/adapters/pela.js';
import { bytesOf } from '../../src/formats/dtype.js';
import { loadTensor } from '../../src/formats/graft.js';
import { IncrementalPca } from '../../src/init/ipca.js';
import type { Model } from '../../src/models/model.js';
import type { Site } from '../../src/models/site.js';
import { drawn, towards } from './regressions.js';
import { norm } from './support.js';

// What the papers argue by, on matrices small enough to see it.

before(() => useBackend('auto'));

test('one step of gradient descent from the start of a LoRA moves the output by lr·s²·‖A x‖²: alike at every rank by α/√r, ever less by α/r', () => {
  const site = { name: 'm', kind: 'linear', layer: 0, role: 'toy', dimIn: 64, dimOut: 1, weight: 'm.weight' } as Site;
  const model = { type: 'toy', sites: [site], layers: 1, defaultTargets: ['m'], headTensors: () => [] } as unknown as Model;
  const base = { names: () => [], shape: () => undefined, values: () => new Float32Array(0) };
  const x = drawn([64, 1], 'x'), lr = 0.1, alpha = 16, draws = 30;
  const moved = (rank: number, rslora: boolean): number => Array.from({ length: draws }, (_, seed) => {
    const { config, tensors } = createGraft({ method: lora, config: { rank, alpha, rslora }, model, base, fingerprint: { type: '', headers: '' }, head: null, seed, history: [] });
    const A = loadTensor('A', tensors.get('m.lora_A.weight')!), B = tf.variable(loadTensor('B', tensors.get('m.lora_B.weight')!));
    const y = (): Tensor2D => {
      const change = lora.weightChange!(site, { 'lora_A.weight': A, 'lora_B.weight': B }, config as unknown as LoraConfig);
      return tf.mul(tf.matMul(tf.matMul(change.B, change.A), x), change.scale);
    };
    const { grads } = tf.variableGrads(() => tf.sum(y()) as tf.Scalar, [B]); // g = 1
    B.assign(tf.sub(B, tf.mul(grads[B.name], lr)));
    const s = rslora ? alpha / Math.sqrt(rank) : alpha / rank, by = -y().dataSync()[0];
    assert.ok(Math.abs(by / (lr * s ** 2 * norm(tf.matMul(A as Tensor2D, x)) ** 2) - 1) < 1e-4);
    B.dispose();
    return by;
  }).reduce((a, b) => a + b, 0) / draws;
  const expected = lr * alpha ** 2 * norm(x) ** 2 / (3 * 64);
  for (const rank of [16, 256]) assert.ok(Math.abs(moved(rank, true) / expected - 1) < 0.15, `rank ${rank}`);
  assert.ok(Math.abs(moved(16, false) / moved(256, false) / 16 - 1) < 0.15);
});

test('a Hadamard product of two matrices of rank 4 takes LoHa 512 numbers; LoRA with as many leaves a quarter of it', () => {
  const D = 32, site = { name: 'm', kind: 'linear', dimIn: D, dimOut: D } as never, config = { rank: 4, alpha: 4 } as never;
  const p = Object.fromEntries(loha.params(site, config, null as never).map((spec) => [spec.name, drawn(spec.shape as [number, number], spec.name)]));
  const target = tf.mul(tf.matMul(p.hada_w1_a, p.hada_w1_b), tf.matMul(p.hada_w2_a, p.hada_w2_b));
  assert.ok(norm(tf.sub(weightDelta(site, loha.weightChange!(site, p, config)), target)) < 1e-5 * norm(target));
  assert.equal(Object.values(p).reduce((n, t) => n + t.size, 0), 8 * (D + D));
  const { S } = svd(target.dataSync() as Float32Array, D, D);
  assert.ok(Math.hypot(...S.slice(8)) > 0.2 * Math.hypot(...S), `${[...S]}`);
});

test('LoRA of full rank learns any change; of half of it, half of a change whose singular values are alike', () => {
  const D = 16, W = drawn([D, D], 'W'), turn = tf.tensor2d(Float32Array.from(qr(Float64Array.from(drawn([D, D], 'change').dataSync()), D, D).Q), [D, D]);
  const left = (rank: number): number => norm(tf.sub(towards(lora, { rank, alpha: rank }, W, tf.add(W, turn) as Tensor2D, { seed: 0, steps: 400, lr: 2e-2 }).delta, turn)) ** 2 / D;
  const [half, full] = [left(D / 2), left(D)];
  assert.ok(full < 1e-3 && Math.abs(half - 0.5) < 0.02, `${full} and ${half}`);
});

test('the directions EVA starts from hold nearly all of the first gradient, random ones a third, and from them the loss falls faster', () => {
  const D = 32, r = 4, spread = tf.tensor1d(Array.from({ length: D }, (_, i) => Math.exp(-i / 8))); // variances exp(-i/4)
  const turn = tf.tensor2d(Float32Array.from(qr(Float64Array.from(drawn([D, D], 'turn').dataSync()), D, D).Q), [D, D]);
  const inputs = (n: number, name: string): Tensor2D => tf.matMul(tf.mul(drawn([n, D], name), spread) as Tensor2D, turn);
  const shares = [0, 1, 2, 3, 4].map((seed) => {
    const pca = new IncrementalPca(D, r);
    for (let i = 0; i < 8; i++) pca.update(Float64Array.from(inputs(64, `${seed} ${i}`).dataSync()));
    const x = inputs(512, `${seed} gradient`), G = tf.matMul(tf.matMul(drawn([16, D], seed, 'error'), x, false, true), x) as Tensor2D;
    const held = (A: Float64Array): number => norm(tf.matMul(G, tf.tensor2d(Float32Array.from(A), [r, D]), false, true)) / norm(G);
    const random = tf.transpose(tf.tensor2d(Float32Array.from(qr(Float64Array.from(drawn([D, r], seed, 'random').dataSync()), D, r).Q), [D, r]));
    const starts = [Float64Array.from(pca.components.slice(0, r * D)), Float64Array.from(random.dataSync())], zero = tf.zeros([16, D]) as Tensor2D, target = drawn([16, D], seed, 'target');
    const lossFrom = (A: Float64Array): number => towards(lora, { rank: r, alpha: r }, zero, target, {
      seed, steps: 40, lr: 2e-2, inputs: (z) => tf.matMul(tf.mul(z, spread) as Tensor2D, turn),
      given: (g) => ({ ...g, tensors: new Map(g.tensors).set('module.0.lora_A.weight', { dtype: 'F32', shape: [r, D], data: bytesOf(Float32Array.from(A)) }) }),
    }).error ** 2;
    return [...starts.map(held), ...starts.map(lossFrom)];
  });
  const [eva, random, lossEva, lossRandom] = [0, 1, 2, 3].map((i) => shares.reduce((n, s) => n + s[i], 0) / shares.length);
  assert.ok(eva > 0.9 && random < 0.5, `${eva} and ${random}`);
  assert.ok(lossEva < 0.85 * lossRandom, `${lossEva} and ${lossRandom}`);
});

test('trained to compute what the whole weight does, the factors of PELA come nearer in what they compute; the penalty keeps them nearer in their entries', () => {
  const D = 32, W = tf.div(drawn([D, D], 'W'), Math.sqrt(D)) as Tensor2D;
  const spread = tf.tensor1d(Array.from({ length: D }, (_, i) => Math.exp(-i / 8))), turn = tf.tensor2d(Float32Array.from(qr(Float64Array.from(drawn([D, D], 'turn').dataSync()), D, D).Q), [D, D]);
  const run = (config: object, steps: number) => {
    const { delta, error } = towards(pela, { ratio: 4, distill: 0, ...config }, W, W, { seed: 0, steps, lr: 5e-3, inputs: (x) => tf.matMul(tf.mul(x, spread) as Tensor2D, turn) });
    return { error, largest: tf.max(tf.abs(delta)).dataSync()[0] };
  };
  const [start, trained, kept] = [run({}, 0), run({}, 600), run({ perturb: 20 }, 600)];
  assert.ok(trained.error < 0.7 * start.error && kept.error < start.error, JSON.stringify({ start, trained, kept }));
  assert.ok(trained.largest > start.largest && kept.largest < 0.8 * start.largest, JSON.stringify({ start, trained, kept }));
});
