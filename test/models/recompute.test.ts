import { tf, useBackend, variableGradients, type Scalar, type Tensor } from '@graft/kernels';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { loadMethod } from '../../src/adapters/registry.js';
import type { ActiveGraft } from '../../src/adapters/active.js';
import type { Method } from '../../src/adapters/method.js';
import { Forward, type ForwardOptions } from '../../src/models/forward.js';
import { active, bench, fresh, randomised, type Bench } from '../adapters/support.js';
import { jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';

before(() => useBackend('auto'));

/** A loss that is a fixed random projection of the logits; its value and gradients, and the kernels' live memory when the loss is there. */
function gradients(b: Bench, graft: ActiveGraft, options: ForwardOptions): { value: number; grads: Map<string, Float32Array>; live: number } {
  const trained = graft.trained, live = (): number => Number((tf.memory() as unknown as { live?: number }).live ?? 0), before = live();
  let after = 0;
  const { value, grads } = variableGradients(() => {
    const f = new Forward(b.model.sites, b.checkpoint, [graft], { train: true, modelDropout: true, seed: 3, step: 5, ...options });
    const z = b.model.logits(f, b.model.backbone(f, b.batch), b.head), weights = Float32Array.from({ length: z.size }, (_, i) => Math.sin(1 + i));
    const loss = tf.mean(tf.mul(z, tf.tensor(weights, z.shape))) as Scalar;
    after = live() - before;
    return loss;
  }, [...trained.values()]);
  const out = new Map([...trained].flatMap(([name, v]) => (grads.has(v) ? [[name, grads.get(v)!.dataSync().slice() as Float32Array]] : [])));
  const number = value.dataSync()[0];
  tf.dispose([value, ...grads.values()]);
  return { value: number, grads: out, live: after };
}

const CASES: [string, string, Record<string, unknown>][] = [
  ['bert-classify', 'lora', { targetModules: ['all-linear'], dropout: 0.2 }], ['roberta-mlm', 'full', {}], ['gpt2-clm', 'lora', { targetModules: ['c_attn'], dropout: 0.1 }],
  ['llama-clm', 'dora', { targetModules: ['all-linear'] }], ['qwen2-clm', 'ia3', {}], ['vit-classify', 'prefix', {}], ['bert-tag', 'prompt', { tokens: 4, init: 'random' }],
  ['resnet-basic', 'full', {}], ['resnet-bottleneck', 'lora', { targetModules: ['convolution'] }], ['unet-attends', 'lora', { targetModules: ['to_q', 'to_v'] }], ['unet-linear', 'full', {}],
];

for (const [model, name, config] of CASES) {
  test(`${model}, ${name}: gradients of blocks that are computed again are those of blocks that were kept`, async () => {
    const b = await bench(model), method = await loadMethod(name), graft = active(b, method, randomised(fresh(b, method, config), 0.05), true);
    const kept = gradients(b, graft, {}), tensors = tf.memory().numTensors, again = gradients(b, graft, { recompute: true });
    assert.ok(kept.grads.size > 0 && [...kept.grads.values()].some((g) => g.some((v) => v !== 0)));
    assert.deepEqual([again.value, again.grads], [kept.value, kept.grads]);
    assert.equal(tf.memory().numTensors, tensors, 'no tensors left');
    if (kept.live > 0) assert.ok(again.live < 0.8 * kept.live, `bytes kept for the gradients: ${kept.live}, ${again.live} where blocks are computed again`);
    graft.dispose();
  });
}

test('what changes leave for a term of the loss, and blocks that a side network reads, have their gradients through it', async () => {
  const noting: Method = {
    name: 'noting', summary: '', paper: null, options: {}, taps: true,
    sites: (m) => m.sites.filter((s) => s.kind === 'ffn.output' || s.kind === 'logits'),
    params: (s) => [{ name: 'gate', shape: [s.kind === 'logits' ? 1 : s.dimOut], init: { kind: 'constant', value: 0.5 } }],
    change({ site, x, base, pass }, p): Tensor {
      const y = base(x);
      if (site.kind === 'logits') return tf.add(y, tf.mul(p.gate, tf.addN([...pass.taps.values()].map((t) => tf.mean(t)))));
      const z = tf.mul(tf.sigmoid(y), p.gate);
      pass.notes.set(site.name, z);
      return tf.add(y, z);
    },
  };
  const b = await bench('bert-classify'), graft = active(b, noting, fresh(b, noting), true), trained = [...graft.trained.values()];
  const run = (recompute: boolean): number[][] => {
    const { value, grads } = variableGradients(() => {
      const f = new Forward(b.model.sites, b.checkpoint, [graft], { train: true, recompute }), z = b.model.logits(f, b.model.backbone(f, b.batch), b.head);
      return tf.add(tf.mean(tf.square(z)), tf.addN([...f.notes.values()].map((t) => tf.mean(tf.square(t))))) as Scalar;
    }, trained);
    const out = [value, ...trained.map((v) => grads.get(v)!)].map((t) => [...t.dataSync()]);
    tf.dispose([value, ...grads.values()]);
    return out;
  };
  assert.deepEqual(run(true), run(false));
});

test('train --gradient-checkpointing writes the same bytes', () => {
  const own = scratch(), model = tinyBert(own), rows = tinyRows(24, 1).map((row, i) => ({ ...row, task: i % 2 ? 'a' : 'b' })), data = jsonLines(join(own, 'rows.jsonl'), rows);
  for (const [method, ...options] of [['lora', '--dropout', '0.1'], ['adalora'], ['bottleneck']]) {
    const start = must(['init-adapter', '-m', model, '--method', method, ...options, '--task', 'classify', '--labels-from', data]);
    const [kept, again] = [[], ['--gradient-checkpointing']].map((more, i) => {
      const log = join(own, `log-${i}`), out = must(['train', '-m', model, '-d', data, '--steps', '4', '--batch-size', '8', '--accumulate', '2', '--log', log, ...more], start);
      return [out.toString('latin1'), readFileSync(log, 'utf8')];
    });
    assert.deepEqual(again, kept, method);
  }
});
