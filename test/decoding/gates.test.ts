import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tf, useBackend, type Tensor2D } from '@graft/kernels';
import { gateWeights } from '../../src/adapters/meteora.js';
import { disposeBatch, padBatch } from '../../src/data/encode.js';
import { gatesOf } from '../../src/decoding/gates.js';
import type { Finished } from '../../src/decoding/method.js';
import { readGraft } from '../../src/formats/graft.js';
import { openRuntime } from '../../src/runtime.js';
import { graft, jsonLines, must, scratch, tinyDecoder, tinyRows } from '../support/tiny.js';

const folder = scratch(), TASKS = ['one', 'two', 'three'], MODULES = 4; // c_attn and mlp.c_fc of two layers
let model = '', prompts = '', lora = '', bank = '';
before(async () => {
  await useBackend('auto');
  model = tinyDecoder(folder);
  prompts = jsonLines(join(folder, 'prompts.jsonl'), tinyRows(6, 1).map(({ text }, i) => ({ id: i, prompt: text, gates: 'old' })));
  const texts = jsonLines(join(folder, 'texts.jsonl'), tinyRows(8, 2));
  const one = (name: string, i: number): string => {
    const path = join(folder, name);
    const start = must(['init-adapter', '-m', model, '--method', 'lora', '--rank', '2', '--target-modules', 'c_attn', '--target-modules', 'mlp.c_fc', '--task', 'clm', '--seed', `${i}`]);
    must(['train', '-m', model, '-g', '-', '-d', texts, '--objective', 'clm', '--steps', '2', '--lr', '0.1', '-o', path], start);
    return path;
  };
  const grafts = TASKS.map(one);
  [lora] = grafts;
  bank = join(folder, 'bank');
  must(['merge', '--method', 'meteora', ...TASKS.flatMap((t) => ['--names', t]), ...grafts.flatMap((g) => ['-g', g]), '--seed', '3', '-o', bank]);
});

type Row = { response: string; tokens: number; gates: { token: string; adapter: string; weights: Record<string, number> }[] };
const generated = (...args: string[]): Row[] => must(['convert', '--to', 'jsonl'], must(['generate', '-m', model, '-g', bank, '-d', prompts, '--max-new', '5', '--report', 'gates', ...args])).toString().trim().split('\n').map((l) => JSON.parse(l));

test('every token of a response comes with the adapters its gates chose', () => {
  const all = generated();
  for (const { response, tokens, gates } of all) {
    assert.equal(gates.length, tokens);
    assert.equal(gates.map((g) => g.token).join(''), response);
    for (const { adapter, weights } of gates) {
      assert.deepEqual(Object.keys(weights), TASKS);
      const values = Object.values(weights);
      assert.ok(Math.abs(values.reduce((a, b) => a + b) - 1) < 1e-5);
      assert.equal(weights[adapter], Math.max(...values));
    }
  }
  assert.ok(new Set(all.flatMap((r) => r.gates.map((g) => g.adapter))).size > 1, 'they differ');
  const near = (rows: Row[]): unknown => rows.map((r) => r.gates.map((g) => Object.values(g.weights).map((w) => Math.round(w * 1e4) / 1e4)));
  assert.deepEqual(near(generated('--batch-size', '1')), near(all));
  const beams = generated('--method', 'beam', '--samples', '2');
  assert.equal(beams.length, 12);
  assert.ok(beams.every((r) => r.gates.map((g) => g.token).join('') === r.response));
});

test('they are those of the pass that reads the text up to there, in the mean over modules', async () => {
  const runtime = await openRuntime({ model, grafts: [await readGraft(bank)] });
  const [a, b] = ['w1 w7 w30 w2 w2 w9', 'w40 w3 w11'].map((t) => runtime.tokenizer.encode(t, null, Infinity).ids);
  const text = (ids: readonly number[], prompt: number): Finished => ({ ids, prompt, score: 0, finish: 'length' });
  const search = null as never;
  const found = gatesOf(runtime, [{ ids: [], search }, { ids: [], search }], [[text(a, 2), text(a, 4)], [text(b, 1)]]);
  const expected = (ids: readonly number[]): number[] => tf.tidy(() => {
    const batch = padBatch([{ ids: [...ids], types: ids.map(() => 0) }], 0), pass = runtime.forward({ train: true });
    runtime.model.backbone(pass, batch);
    const last = [...pass.notes.values()].map((z) => gateWeights(tf.slice(tf.reshape(z, [-1, TASKS.length]), [ids.length - 1, 0]) as Tensor2D, { topK: 2, temperature: 1 }));
    assert.equal(last.length, MODULES);
    disposeBatch(batch as never);
    return [...tf.mean(tf.stack(last), 0).dataSync()];
  });
  [[a, 2, found[0][0]], [a, 4, found[0][1]], [b, 1, found[1][0]]].forEach(([ids, prompt, gates]) => {
    const all = ids as number[], of = gates as typeof found[0][0];
    assert.equal(of.length, all.length - (prompt as number));
    of.forEach((g, i) => {
      const values = expected(all.slice(0, (prompt as number) + i));
      Object.values(g.weights).forEach((w, k) => assert.ok(Math.abs(w - values[k]) < 1e-5, `token ${i}: ${w} for ${values[k]}`));
    });
  });
  runtime.dispose();
});

test('refused: gates of a graft that has none, or of two', () => {
  for (const [grafts, message] of [[['-g', lora], /no graft has gates; graft merge --method meteora/], [['-g', bank, '-g', bank], /2 grafts have gates; give one/]] as const) {
    const r = graft(['generate', '-m', model, ...grafts, '-d', prompts, '--report', 'gates']);
    assert.equal(r.status, 64, r.stderr);
    assert.match(r.stderr, message);
  }
});
