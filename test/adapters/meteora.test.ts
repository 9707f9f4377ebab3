import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { tf, useBackend, type Scalar, type Tensor2D, type Variable } from '@graft/kernels';
import bitfit from '../../src/adapters/bitfit.js';
import { toGraft } from '../../src/adapters/instantiate.js';
import lora from '../../src/adapters/lora.js';
import meteora, { gateWeights } from '../../src/adapters/meteora.js';
import { GraftError } from '../../src/errors.js';
import type { Graft } from '../../src/formats/graft.js';
import { mergeGrafts } from '../../src/merging/grafts.js';
import { mergingMethod } from '../../src/merging/registry.js';
import { Forward } from '../../src/models/forward.js';
import { maxDifference } from '../models/golden.js';
import { active, bench, fresh, gradients, logits, merged, randomised, type Bench } from './support.js';

before(() => useBackend('auto'));

const embedded = (grafts: readonly Graft[], config: Record<string, unknown> = {}, weights = grafts.map(() => 1)): Graft => mergeGrafts(lora, grafts, mergingMethod('meteora'), weights, { seed: 0, ...config }, []);
/** Two grafts that differ in rank, scale and modules. */
const pair = (b: Bench): [Graft, Graft] => [
  randomised(fresh(b, lora, { rank: 2, alpha: 3, targetModules: ['c_attn'] })),
  randomised(fresh(b, lora, { rank: 3, alpha: 5, rslora: true, targetModules: ['c_attn', 'mlp.c_fc'] }), 0.3),
];
/** With gates of zero, which weigh all alike and prefer the first. */
const indifferent = (graft: Graft): Graft => ({ ...graft, tensors: new Map([...graft.tensors].map(([n, t]) => [n, n.endsWith('gate') ? { ...t, data: new Uint8Array(t.data.length) } : t])) });
const route = (b: Bench): { route: { task: string[] } } => ({ route: { task: b.golden.input_ids!.map((_, i) => (i % 2 ? 'one' : 'two')) } });
const close = (t: Tensor2D, expected: number[]): void => t.dataSync().forEach((v, i) => assert.ok(Math.abs(v - expected[i]) < 1e-4, `${v} is not ${expected[i]}`));

test('weights are the softmax over the largest logits, and exactly 0 elsewhere', () => {
  const z = tf.tensor2d([[2, 1, 0], [0, 1, 2]]);
  close(gateWeights(z, { topK: 2, temperature: 1 }), [0.7311, 0.2689, 0, 0, 0.2689, 0.7311]);
  close(gateWeights(z, { topK: 2, temperature: 2 }), [0.6225, 0.3775, 0, 0, 0.3775, 0.6225]);
  assert.deepEqual([...gateWeights(z, { topK: 1, temperature: 1 }).dataSync()], [1, 0, 0, 0, 0, 1]);
  // All chosen: the softmax of all; over the rest it is renormalised.
  close(gateWeights(z, { topK: 3, temperature: 1 }), [0.6652, 0.2447, 0.09, 0.09, 0.2447, 0.6652]);
  assert.deepEqual([...gateWeights(tf.tensor2d([[1, 1, 1]]), { topK: 1, temperature: 1 }).dataSync()], [1, 0, 0], 'of equals one alone');
});

test('the adapter that is chosen acts as it does alone; all in equal parts are their mean', async () => {
  const b = await bench('gpt2-clm'), [one, two] = pair(b), alone = [one, two].map((g) => logits(b, [active(b, lora, g)]));
  const run = (graft: Graft): Float32Array => logits(b, [active(b, meteora, graft)]);
  assert.ok(maxDifference(run(indifferent(embedded([one, two], { topK: 1 }))), alone[0]) < 1e-5);
  assert.ok(maxDifference(run(indifferent(embedded([two, one], { topK: 1 }))), alone[1]) < 1e-5);
  assert.ok(maxDifference(alone[0], alone[1]) > 1e-2);
  const mean = mergeGrafts(lora, [one, two], mergingMethod('linear'), [1, 1], { normalize: true }, []);
  assert.ok(maxDifference(run(indifferent(embedded([one, two]))), logits(b, [active(b, lora, mean)])) < 1e-5);
  const doubled = mergeGrafts(lora, [one], mergingMethod('task-arithmetic'), [1], { lambda: 2 }, []);
  assert.ok(maxDifference(run(indifferent(embedded([one, two], { topK: 1 }, [2, 1]))), logits(b, [active(b, lora, doubled)])) < 1e-5, '--weight scales an adapter');
  const gated = embedded([one, two]), act = active(b, meteora, gated);
  assert.ok(maxDifference(logits(b, [active(b, meteora, toGraft(act, gated))]), logits(b, [act])) === 0);
  assert.deepEqual(gated.config.targetModules, [...new Set([...two.tensors.keys()].map((n) => n.replace(/\.lora_.*/, '')))].sort());
  const { tensors } = gated, module = (gated.config.targetModules as string[])[0], [d] = tensors.get(`${module}.meteora_gate`)!.shape.slice(1);
  assert.deepEqual(['A', 'gate'].map((n) => tensors.get(`${module}.meteora_${n}`)!.shape), [[6, d], [2, d]]);
});

test('gates alone are trained, or the adapters with them; gradients are the slopes of the loss', async () => {
  const b = await bench('gpt2-clm'), grafts = pair(b);
  for (const trainAdapters of [false, true]) {
    const graft = embedded(grafts, { trainAdapters, names: ['one', 'two'], gateLoss: 0.5, temperature: 2 });
    const act = active(b, meteora, graft, true), mask = b.batch.kind === 'text' ? b.batch.mask : null;
    assert.equal([...act.trained.keys()].every((name) => name.endsWith('gate')), !trainAdapters);
    const loss = (): Scalar => tf.tidy(() => {
      const pass = new Forward(b.model.sites, b.checkpoint, [act], { train: true, taps: true, ...route(b) });
      const value = tf.mean(tf.square(b.model.logits(pass, b.model.backbone(pass, b.batch), b.head)));
      return tf.add(value, meteora.auxiliary!({ pass, teacher: () => pass, mask, sites: act.sites }, act.config as never)!) as Scalar;
    });
    const { grads } = tf.variableGrads(loss, [...act.trained.values()]);
    for (const [name, v] of [...act.trained].slice(0, 3)) slope(v, grads[v.name].dataSync() as Float32Array, () => loss().dataSync()[0], name);
  }
  const graft = embedded(grafts, { gateLoss: 0 }), act = active(b, meteora, graft, true);
  const before = new Map([...act.tensors].map(([n, t]) => [n, t.dataSync().slice()]));
  for (const [name, g] of gradients(b, act)) act.trained.get(name)!.assign(tf.sub(act.trained.get(name)!, g));
  for (const [name, t] of act.tensors) assert.equal(maxDifference(t.dataSync() as Float32Array, before.get(name) as Float32Array) === 0, !name.endsWith('gate'), name);
  assert.equal(meteora.auxiliary!(null as never, act.config as never), null);
});

/** The directional derivative along the gradient, by central differences. */
function slope(v: Variable, g: Float32Array, loss: () => number, name: string): void {
  const old = v.clone(), size = Math.hypot(...g), h = 2e-3, along = tf.tensor(g.map((x) => (x * h) / size), v.shape);
  const [up, down] = [1, -1].map((sign) => { v.assign(tf.add(old, tf.mul(along, sign))); return loss(); });
  v.assign(old);
  assert.ok(Math.abs((up - down) / (2 * h) - size) < 0.03 * size + 1e-4, `${name}: ${(up - down) / (2 * h)} is not ${size}`);
}

test('the loss of the gates is the cross-entropy with the task of the row, over the tokens there are', async () => {
  const b = await bench('gpt2-clm'), act = active(b, meteora, indifferent(embedded(pair(b), { names: ['one', 'two'], gateLoss: 3 })), true);
  const pass = new Forward(b.model.sites, b.checkpoint, [act], { train: true, taps: true, ...route(b) });
  b.model.backbone(pass, b.batch);
  const call = { pass, teacher: () => pass, mask: b.batch.kind === 'text' ? b.batch.mask : null, sites: act.sites };
  const value = (): number => meteora.auxiliary!(call, act.config as never)!.dataSync()[0];
  assert.ok(Math.abs(value() - 3 * Math.LN2) < 1e-5, 'equal logits');
  // Right everywhere by a wide margin but at padding, which does not count.
  const own = tf.tensor(route(b).route.task.map((t) => [[t === 'one' ? 9 : -9, t === 'two' ? 9 : -9]])), mask = tf.expandDims(call.mask!, -1);
  for (const [key, z] of pass.notes) pass.notes.set(key, tf.mul(tf.mul(own, tf.sub(tf.mul(mask, 2), 1)), tf.onesLike(z)));
  assert.ok(value() < 1e-5);
});

test('what cannot be embedded or run is said', async () => {
  const b = await bench('gpt2-clm'), [one, two] = pair(b), bank = embedded([one, two], { names: ['one', 'two'] });
  const refuses = (f: () => unknown, status: number, message: RegExp): void => assert.throws(f, (e) => e instanceof GraftError && e.status === status && message.test(e.message), `${message}`);
  refuses(() => embedded([one, two], { topK: 3 }), 64, /--top-k 3: .*up to the 2 adapters/);
  refuses(() => embedded([one, two], { temperature: 0 }), 64, /--temperature 0: it must be above 0/);
  refuses(() => embedded([one, two], { names: ['a'] }), 64, /--names a: 2 different names/);
  refuses(() => embedded([one]), 64, /give two grafts or more/);
  refuses(() => embedded([fresh(b, bitfit)]), 64, /takes lora grafts; one is bitfit/);
  refuses(() => embedded([fresh(b, lora, { loraBias: true })]), 65, /lora_B.bias' has no place/);
  refuses(() => embedded([fresh(b, lora, { targetModules: ['wte'] })]), 65, /lora_embedding_A' has no place/);
  refuses(() => fresh(b, meteora), 64, /made of LoRA grafts: graft merge --method meteora/);
  refuses(() => mergingMethod('meteora').merge({ name: 'w', base: null, models: [], weights: [] }, {}), 64, /leave out --model/);
  refuses(() => mergeGrafts(meteora, [bank, bank], mergingMethod('linear'), [1, 1], {}, []), 64, /cannot be added up/);
  await assert.rejects(merged(b, [bank]), (e) => e instanceof GraftError && /its gates choose adapters for every token anew/.test(e.message));
  const again = embedded([bank], { temperature: 15 });
  assert.deepEqual([again.config, again.tensors], [{ ...bank.config, temperature: 15 }, bank.tensors], 'its options anew');
  const act = active(b, meteora, bank, true), aux = (r: object): unknown => {
    const pass = new Forward(b.model.sites, b.checkpoint, [act], { train: true, taps: true, ...r });
    b.model.backbone(pass, b.batch);
    return meteora.auxiliary!({ pass, teacher: () => pass, mask: null, sites: act.sites }, act.config as never);
  };
  refuses(() => aux({}), 65, /no column task/);
  refuses(() => aux({ route: { task: b.golden.input_ids!.map(() => 'z') } }), 65, /task 'z' is none of the graft's adapters/);
});
