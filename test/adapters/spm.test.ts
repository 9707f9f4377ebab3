import { Rng, tf, useBackend, variableGradients, type Scalar, type Tensor, type Variable } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { countParameters } from '../../src/adapters/instantiate.js';
import lora from '../../src/adapters/lora.js';
import spm from '../../src/adapters/spm.js';
import { weightDelta } from '../../src/adapters/low-rank.js';
import { permeability } from '../../src/diffusion/permeability.js';
import { loadTensor, type Graft } from '../../src/formats/graft.js';
import spmFactors from '../../src/merging/spm-factors.js';
import { permeable } from '../../src/merging/unroute.js';
import type { NoiseBatch } from '../../src/models/model.js';
import type { Pass, Site } from '../../src/models/site.js';
import type { Preparation } from '../../src/objectives/objective.js';
import erase, { anchor } from '../../src/objectives/erase.js';
import { openRuntime } from '../../src/runtime.js';
import { FOLDER, maxDifference } from '../models/golden.js';
import { active, bench, fresh, logits, merged, randomised, type Bench } from './support.js';

before(() => useBackend('auto'));

const labels = ['red', 'green', 'blue'];
/** The bench's batch under other conditions, and what says so to grafts. */
const asked = (b: Bench, prompt: number[][]): { batch: NoiseBatch; route: Pass['route'] } => {
  const { ids: _, ...batch } = b.batch as NoiseBatch;
  return { batch: { ...batch, ids: tf.tensor2d(prompt, undefined, 'int32') }, route: { prompt, labels } };
};

describe('spm', () => {
  test('acts at every dense layer and convolution of the transformers, with Σ(in + out) numbers', async () => {
    for (const [name, kinds] of [['unet-attends', ['conv', 'linear']], ['unet-linear', ['linear']]] as const) {
      const b = await bench(name), graft = active(b, spm, fresh(b, spm, { concept: ['red'] }), true);
      const sites = [...graft.sites.keys()], inside = b.checkpoint.names().filter((n) => /attentions\.\d+\..*weight$/.test(n) && b.checkpoint.info(n).shape.length > 1);
      assert.deepEqual(sites.map((s) => s.weight).sort(), inside.sort());
      assert.deepEqual([...new Set(sites.map((s) => s.kind))].sort(), kinds);
      assert.equal(countParameters(graft).trained, sites.reduce((n, s) => n + s.dimIn + s.dimOut, 0));
      b.checkpoint.close();
    }
  });

  test('γ is the cosine with the concept or the share of it that is named, whichever is more', () => {
    const table = { values: Float32Array.from([1, 0, 0, 0, 1, 0, 0.6, 0.8, 0, 0, 0, 1]), width: 3, classes: 3 };
    const gamma = (prompt: number[], concept: number[]): number => permeability(prompt, concept, table);
    assert.equal(gamma([2], [2]), 1);
    assert.ok(Math.abs(gamma([2], [0]) - 0.6) < 1e-6);
    assert.equal(gamma([1, 0], [0]), 1, 'the concept is among what is named');
    assert.ok(Math.abs(gamma([0], [0, 1]) - Math.SQRT1_2) < 1e-6, 'half of the concept is named, the cosine is 1/√2');
    assert.equal(gamma([0, 0, 0], [1, 0]), 0.5, 'half is named, the cosine 1/√6');
    assert.equal(gamma([], [0]), 0);
  });

  test('acts as the prompt is near its concept; of two grafts one that does not act changes nothing', async () => {
    const b = await bench('unet-attends'), make = (concept: string[], seed: number): Graft => randomised(fresh(b, spm, { concept }, { seed }));
    const at = (grafts: Graft[], prompt: number[][]): Float32Array => logits(b, grafts.map((g) => active(b, spm, g)), { route: asked(b, prompt).route }, asked(b, prompt).batch);
    const red = make(['red'], 0), fixed = (gamma: number): Graft => permeable(red, gamma);
    const both = at([red], [[0], [1]]), one = at([fixed(1)], [[0], [1]]), none = at([], [[0], [1]]), half = both.length / 2;
    assert.ok(maxDifference(none, one) > 1e-3);
    assert.equal(maxDifference(at([fixed(0)], [[0], [1]]), none), 0);
    assert.ok(maxDifference(both.subarray(0, half), one.subarray(0, half)) < 1e-6, 'the concept itself: γ = 1');
    const E = b.checkpoint.tensor('cond_stage_model.embedding.weight').arraySync() as number[][], dot = (u: number[], v: number[]): number => u.reduce((s, x, i) => s + x * v[i], 0);
    const cosine = Math.max(0, dot(E[0], E[1]) / Math.sqrt(dot(E[0], E[0]) * dot(E[1], E[1])));
    assert.ok(maxDifference(both.subarray(half), at([fixed(cosine)], [[0], [1]]).subarray(half)) < 1e-5, `another: γ = ${cosine}`);
    assert.equal(maxDifference(at([red, permeable(make(['blue'], 1), 0)], [[0], [2]]), at([red], [[0], [2]])), 0, 'γ = (1, 0) is the first alone');
    assert.equal(maxDifference(logits(b, [active(b, spm, red)]), logits(b, [active(b, spm, fixed(1))])), 0, 'in training γ = 1');
    assert.throws(() => at([make(['pink'], 0)], [[0], [1]]), /the graft erases "pink", which is none of the model's conditions \(red, green, blue\)/);
    b.checkpoint.close();
  });

  test('is merged at a fixed γ alone, to what γ times the change computes', async () => {
    const b = await bench('unet-attends'), graft = randomised(fresh(b, spm, { concept: ['red'] }));
    await assert.rejects(merged(b, [graft]), /a spm graft cannot be merged: how much of it acts depends on the prompt; graft merge --permeability G fixes that/);
    assert.ok(maxDifference(logits(b, [], {}, b.batch, await merged(b, [permeable(graft, 0.3)])), logits(b, [active(b, spm, permeable(graft, 0.3))])) < 1e-4);
    assert.throws(() => permeable(fresh(b, lora), 1), /--permeability is for spm grafts; this one is lora/);
    b.checkpoint.close();
  });
});

describe('spm-factors', () => {
  test('adds up u and v each times γ: γ² of each graft and products across', async () => {
    const b = await bench('unet-attends'), [first, second] = ['red', 'blue'].map((c, i) => randomised(fresh(b, spm, { concept: [c] }), 0.2 + 0.1 * i)), gammas = [1, 0.5];
    const one = spmFactors.grafts!([first, second], gammas, {}), site = b.model.sites.find((s) => s.name.endsWith('attn2.to_v'))!;
    const vectors = (g: Graft): { u: number[]; v: number[] } => ({ u: [...loadTensor('u', g.tensors.get(`${site.name}.lora_up.weight`)!).dataSync()], v: [...loadTensor('v', g.tensors.get(`${site.name}.lora_down.weight`)!).dataSync()] });
    const [p, q, sum] = [first, second, one].map(vectors);
    const expected = p.u.flatMap((_, i) => p.v.map((__, j) => (gammas[0] * p.u[i] + gammas[1] * q.u[i]) * (gammas[0] * p.v[j] + gammas[1] * q.v[j])));
    assert.ok(maxDifference(sum.u.flatMap((u) => sum.v.map((v) => u * v)), expected) < 1e-6);
    assert.deepEqual([one.config.concept, one.config.permeability], [['red', 'blue'], 1]);
    assert.throws(() => spmFactors.grafts!([first, fresh(b, lora)], gammas, {}), /--method spm-factors takes spm grafts; one is lora/);
    assert.throws(() => spmFactors.grafts!([first, fresh(b, spm, { rank: 2 })], gammas, {}), /the grafts differ in modules, rank or alpha/);
    assert.throws(() => spmFactors.merge({} as never, {}), /--method spm-factors makes one graft of spm grafts/);
    b.checkpoint.close();
  });
});

describe('erase', () => {
  const open = async (config: Record<string, unknown> = {}, scale = 0) => {
    const b = await bench('unet-attends'), graft = fresh(b, spm, { concept: ['red'], ...config });
    b.checkpoint.close();
    const runtime = await openRuntime({ model: join(FOLDER, 'unet-attends'), grafts: [scale > 0 ? randomised(graft, scale) : graft], trainable: true });
    const p = (options: Record<string, unknown> = {}): Preparation => ({ runtime, table: { name: 'concepts', columns: ['prompt', 'neutral'] } as never, maxLength: 0, options, seed: 3 });
    const examples = (rows: Record<string, unknown>[]) => erase.prepare(rows, 0, p());
    return { runtime, p, examples };
  };
  const frozen = (runtime: Awaited<ReturnType<typeof open>>['runtime'], batch: NoiseBatch): Tensor => runtime.model.backbone(runtime.forward({}, []), batch).hidden;

  test('the target is the neutral prediction less η times what the concept adds, and at anchors the frozen prediction', async () => {
    const { runtime, p, examples } = await open({}, 0.2);
    for (const [row, eta, neutral] of [[{ prompt: 'red' }, 1, 3], [{ prompt: 'red', neutral: 'blue' }, 0.5, 2]] as const) {
      const { inputs, targets } = erase.batch(await examples([row]), 4, p({ eraseGuidance: eta, anchors: 3, anchorWeight: 6, samplingSteps: 5 }));
      const { x, t, context } = inputs as NoiseBatch, [n, ...shape] = x.shape, size = shape.reduce((a, b) => a * b);
      assert.deepEqual([n, [...targets.weights!], targets.count], [4, [1, 2, 2, 2], 1]);
      assert.equal(new Set(t.dataSync()).size, 1);
      const single = tf.slice(x, [0, 0, 0, 0], [1, -1, -1, -1]), under = (id: number): Float32Array => frozen(runtime, { kind: 'noise', x: single, t: tf.slice(t, 0, 1), ids: tf.tensor2d([[id]], undefined, 'int32') }).dataSync().slice() as Float32Array;
      const [asked, free] = [under(0), under(neutral)];
      assert.ok(maxDifference(targets.values!.subarray(0, size), free.map((f, i) => f - eta * (asked[i] - f))) < 1e-5);
      const anchored = frozen(runtime, { kind: 'noise', x, t, context }).dataSync();
      assert.ok(maxDifference(targets.values!.subarray(size), anchored.subarray(size) as Float32Array) < 1e-5);
      const c = tf.slice(context!, [0, 0, 0], [1, -1, -1]).dataSync(), E = runtime.checkpoint.tensor('cond_stage_model.embedding.weight').dataSync();
      assert.ok(maxDifference(c as Float32Array, E.subarray(0, c.length) as Float32Array) === 0);
    }
    runtime.dispose();
  });

  test('a batch is a function of seed, epoch and row, leaves nothing behind, and with λ = 0 has no anchors', async () => {
    const { runtime, p, examples } = await open({}, 0.2), rows = await examples([{ prompt: 'red' }, { prompt: 'red', neutral: 'green, blue' }]);
    const run = (which: typeof rows, epoch: number, options = {}) => {
      const { inputs, targets } = erase.batch(which, epoch, p({ samplingSteps: 4, ...options }));
      const { x, ...rest } = inputs as NoiseBatch, values = x.dataSync().slice() as Float32Array;
      tf.dispose([x, ...Object.values(rest).filter((v) => v instanceof tf.Tensor)]);
      return { values, targets };
    };
    const first = run(rows, 0), tensors = tf.memory().numTensors;
    assert.deepEqual(run(rows, 0), first);
    assert.equal(tf.memory().numTensors, tensors);
    assert.ok(maxDifference(run(rows, 1).values, first.values) > 1e-2);
    const alone = run(rows.slice(1), 0).values;
    assert.ok(maxDifference(first.values.subarray(first.values.length / 2), alone) < 1e-5);
    assert.deepEqual([...run(rows, 0, { anchorWeight: 0 }).targets.weights!], [1, 1]);
    runtime.dispose();
  });

  test('its gradient for u and v predicts the difference along it', async () => {
    const { runtime, p, examples } = await open({}, 0.2), { inputs, targets } = erase.batch(await examples([{ prompt: 'red' }]), 0, p({ anchorWeight: 2, samplingSteps: 4 }));
    const loss = (): Scalar => erase.loss(runtime.logits(inputs, { train: true }), targets, {});
    const trained = [...runtime.grafts[0].trained].filter(([n]) => /attn2.to_v|proj_in/.test(n)), { grads } = variableGradients(loss, trained.map(([, v]) => v));
    assert.equal(grads.size, trained.length);
    for (const [name, v] of trained) {
      const g = grads.get(v)!.dataSync() as Float32Array, start = v.dataSync().slice(), size = Math.sqrt(g.reduce((s, x) => s + x * x, 0));
      const at = (h: number): number => { v.assign(tf.tensor(start.map((x, i) => x + (h * g[i]) / size), v.shape)); return tf.tidy(() => loss().dataSync()[0]); };
      const slope = (at(1e-2) - at(-1e-2)) / 2e-2;
      v.assign(tf.tensor(start, v.shape));
      assert.ok(Math.abs(slope - size) < 0.03 * size + 1e-4, `${name}: slope ${slope}, gradient ${size}`);
    }
    runtime.dispose();
  });

  test('concepts that are none, or not the graft\'s, are refused by row', async () => {
    const { examples, runtime } = await open();
    await assert.rejects(examples([{ prompt: 'red' }, { prompt: 'pink' }]), /concepts: row 2: prompt "pink" is none of the model's 3 conditions/);
    await assert.rejects(examples([{ prompt: '' }]), /row 1: prompt names nothing to erase/);
    await assert.rejects(examples([{ prompt: 'red', neutral: 'pink' }]), /row 1: neutral "pink" is none/);
    await assert.rejects(examples([{ prompt: 'blue' }]), /row 1: prompt "blue" is no concept of the graft \(red\); graft init-adapter --concept/);
    runtime.dispose();
  });
});

describe('latent anchoring', () => {
  test('anchors are as long as the concept within 20 %, and rarely near it', () => {
    const c = Float32Array.from([3, 0, 0, 4]), rng = new Rng('anchors'), all = Array.from({ length: 4000 }, () => anchor(c, rng));
    const lengths = all.map((a) => Math.sqrt(a.reduce((s, x) => s + x * x, 0)) / 5), cosines = all.map((a, i) => (0.6 * a[0] + 0.8 * a[3]) / (5 * lengths[i]));
    assert.ok(lengths.every((l) => l >= 0.8 - 1e-6 && l <= 1.2 + 1e-6));
    assert.ok(Math.abs(lengths.reduce((a, b) => a + b) / 4000 - 1) < 0.01);
    // A cosine s above 0 is taken with probability 1 - s; in four dimensions E|s| = 4/(3π) and E[s²] = 1/4.
    assert.ok(Math.abs(cosines.reduce((a, b) => a + b) / 4000 + 0.125 / (1 - 2 / (3 * Math.PI))) < 0.03);
  });

  /** ε = W c, erased towards W(2 c_∅ - c), by Adam over u and v: |cos(v, c)|, relative drift of other concepts, and the share of the erasing error that is left. */
  function toy(lambda: number): { cosine: number; drift: number; left: number } {
    const d = 16, rng = new Rng('toy'), normals = (n: number, std = 1): Float32Array => Float32Array.from({ length: n }, () => rng.normal(0, std));
    const W = tf.tensor2d(normals(d * d, 1 / Math.sqrt(d)), [d, d]), c = normals(d), site = { name: 'w', kind: 'linear', dimIn: d, dimOut: d } as Site;
    const [down, up] = spm.params(site, { rank: 1, alpha: 1 }, null as never);
    const p: Record<string, Variable> = { [down.name]: tf.variable(tf.tensor(Float32Array.from({ length: d }, () => rng.uniform(-1, 1) / Math.sqrt(d)), down.shape)), [up.name]: tf.variable(tf.zeros(up.shape)) };
    const delta = (): Tensor => weightDelta(site, spm.weightChange!(site, p, { rank: 1, alpha: 1 }));
    const apply = (M: Tensor, v: Float32Array): Tensor => tf.matMul(tf.tensor2d(v, [1, d]), M as tf.Tensor2D, false, true);
    const erased = tf.neg(apply(W, c)), adam = tf.train.adam(0.02);
    const error = (D: Tensor): Scalar => tf.mean(tf.square(tf.sub(apply(tf.add(W, D), c), erased))) as Scalar;
    for (let step = 0; step < 600; step++) {
      const anchors = tf.tensor2d(Array.from({ length: 4 }, () => [...anchor(c, rng)]));
      const { grads } = variableGradients(() => {
        const D = delta();
        return tf.add(error(D), tf.mul(lambda, tf.mean(tf.square(tf.matMul(anchors, D as tf.Tensor2D, false, true))))) as Scalar;
      }, Object.values(p));
      adam.applyGradients(Object.values(p).map((v) => ({ name: v.name, tensor: grads.get(v)! })));
    }
    const v = p[down.name].dataSync(), norm = (a: ArrayLike<number>): number => Math.sqrt(Array.from(a).reduce((s, x) => s + x * x, 0));
    const others = Array.from({ length: 200 }, () => normals(d)), D = delta();
    const drift = others.map((o) => norm(apply(D, o).dataSync()) / norm(apply(W, o).dataSync())).reduce((a, b) => a + b) / others.length;
    return { cosine: Math.abs(c.reduce((s, x, i) => s + x * v[i], 0)) / (norm(c) * norm(v)), drift, left: error(D).dataSync()[0] / error(tf.zeros([d, d])).dataSync()[0] };
  }

  test('turns v to the concept, so that others drift less; too heavy, it keeps the concept from being erased', () => {
    const [without, light, heavy] = [0, 1, 1000].map(toy);
    const said = JSON.stringify({ without, light, heavy });
    assert.ok(without.left < 0.01 && light.left < 0.1 && heavy.left > 0.9, said);
    assert.ok(without.cosine < 0.9 && light.cosine > 0.95, said);
    assert.ok(light.drift < 0.9 * without.drift, said);
  });
});
