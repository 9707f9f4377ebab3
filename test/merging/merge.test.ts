import { Rng } from '@graft/kernels/random';
import { tf, useBackend, type Tensor2D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { baseOf } from '../../src/adapters/base.js';
import { createGraft } from '../../src/adapters/instantiate.js';
import { loadMethod } from '../../src/adapters/registry.js';
import { parseCommandLine } from '../../src/command-line.js';
import command from '../../src/commands/merge.js';
import { GraftError } from '../../src/errors.js';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { bytesOf, encode } from '../../src/formats/dtype.js';
import { readGraft, writeGraft, type Graft } from '../../src/formats/graft.js';
import { writeOutput } from '../../src/formats/output.js';
import { openSafetensors, writeSafetensors, type LazyTensor } from '../../src/formats/safetensors.js';
import type { Head } from '../../src/models/model.js';
import { loadModel } from '../../src/models/registry.js';
import { Runtime } from '../../src/runtime.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-'));
const at = (name: string): string => join(folder, name);
after(() => rmSync(folder, { recursive: true }));

const d = 16, V = 40;
const config = { model_type: 'bert', architectures: ['BertModel'], hidden_size: d, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24, vocab_size: V, max_position_embeddings: 20, type_vocab_size: 2, layer_norm_eps: 1e-12, hidden_act: 'gelu' };

function shapes(): Record<string, number[]> {
  const dense = (name: string, out: number, dimIn: number): Record<string, number[]> => ({ [`${name}.weight`]: [out, dimIn], [`${name}.bias`]: [out] });
  const norm = (name: string): Record<string, number[]> => ({ [`${name}.weight`]: [d], [`${name}.bias`]: [d] });
  const all = { 'embeddings.word_embeddings.weight': [V, d], 'embeddings.position_embeddings.weight': [20, d], 'embeddings.token_type_embeddings.weight': [2, d], ...norm('embeddings.LayerNorm'), ...dense('pooler.dense', d, d) };
  for (const b of ['encoder.layer.0', 'encoder.layer.1']) {
    Object.assign(all, ...['query', 'key', 'value'].map((r) => dense(`${b}.attention.self.${r}`, d, d)), dense(`${b}.attention.output.dense`, d, d), norm(`${b}.attention.output.LayerNorm`),
      dense(`${b}.intermediate.dense`, 24, d), dense(`${b}.output.dense`, d, 24), norm(`${b}.output.LayerNorm`));
  }
  return all;
}

/** A tiny BERT in two shards. */
async function tinyBert(name: string, seed: number, dtype: 'F32' | 'BF16' = 'F32'): Promise<void> {
  mkdirSync(at(name));
  writeFileSync(join(at(name), 'config.json'), JSON.stringify(config));
  writeFileSync(join(at(name), 'vocab.txt'), 'words');
  const map: Record<string, string> = {};
  const shards: LazyTensor[][] = [[], []];
  for (const [tensor, shape] of Object.entries(shapes())) {
    const part = tensor.includes('layer.1') ? 1 : 0;
    map[tensor] = `model-0000${part + 1}-of-00002.safetensors`;
    const rng = new Rng(seed, tensor), n = shape.reduce((a, b) => a * b);
    const values = Float32Array.from({ length: n }, () => rng.normal(/LayerNorm.weight/.test(tensor) ? 1 : 0, 0.2));
    shards[part].push({ name: tensor, dtype, shape, data: () => encode(values, dtype) });
  }
  for (const [i, tensors] of shards.entries()) await writeOutput(join(at(name), `model-0000${i + 1}-of-00002.safetensors`), (out) => writeSafetensors(out, tensors, { format: 'pt' }));
  writeFileSync(join(at(name), 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
}

/** A graft as if it had been trained: every tensor is random. */
async function trained(name: string, methodName: string, own: Record<string, unknown>, seed: number, head: Head | null = null): Promise<string> {
  const checkpoint = await openCheckpoint(at('base'));
  const model = await loadModel(checkpoint), method = await loadMethod(methodName);
  const graft = createGraft({ method, config: own, model, base: baseOf(checkpoint), fingerprint: checkpoint.fingerprint(), head, seed, history: [] });
  for (const [key, tensor] of graft.tensors) {
    const rng = new Rng(seed, key), n = tensor.data.length / 4;
    graft.tensors.set(key, { ...tensor, data: bytesOf(Float32Array.from({ length: n }, () => rng.normal(0, 0.3))) });
  }
  await writeOutput(at(name), (out) => writeGraft(out, graft));
  checkpoint.close();
  return at(name);
}

async function merge(...argv: string[]): Promise<void> {
  const parsed = await parseCommandLine(command, argv);
  assert.ok('args' in parsed);
  await command.run(parsed.args);
}

/** Logits [B, C] (or hidden states without a head) for fixed tokens. */
async function outputs(model: string, ...grafts: string[]): Promise<Float32Array> {
  const runtime = await Runtime.open({ model, grafts: await Promise.all(grafts.map(readGraft)) });
  const ids = tf.tensor2d([[1, 7, 3, 39, 0], [2, 5, 8, 0, 0]], [2, 5], 'int32'), mask = tf.tensor2d([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]]);
  const batch = { kind: 'text', ids: ids as Tensor2D, mask } as const;
  const values = tf.tidy(() => (runtime.head ? runtime.logits(batch) : runtime.features(batch).hidden).dataSync().slice()) as Float32Array;
  runtime.dispose();
  return values;
}

const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  assert.equal(a.length, b.length);
  return Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i])));
};

const refused = (status: number, why: RegExp) => (e: unknown): boolean => {
  assert.ok(e instanceof GraftError, String(e));
  assert.match(e.message, why);
  return e.status === status;
};

const lora = { rank: 3, alpha: 6, targetModules: ['query', 'value', 'output.dense', 'word_embeddings'] };
const labels: Head = { task: 'classify', labels: ['no', 'maybe', 'yes'] };

before(async () => {
  await useBackend('auto');
  await tinyBert('base', 1);
  await trained('a', 'lora', lora, 2, labels);
  await trained('b', 'lora', { rank: 2, alpha: 2, rslora: true, targetModules: ['query', 'key'], loraBias: true }, 3, labels);
  await trained('start', 'lora', { ...lora, targetModules: ['query', 'intermediate.dense'], residual: true }, 4);
  await trained('c', 'lora', { rank: 4, targetModules: ['query'] }, 6, labels);
  await trained('biases', 'bitfit', {}, 5);
});

test('a merged model computes what the model with its grafts computes', async () => {
  await merge('-m', at('base'), '-g', at('a'), '-o', at('merged'));
  assert.ok(apart(await outputs(at('merged')), await outputs(at('base'), at('a'))) <= 1e-5);
  assert.ok(apart(await outputs(at('merged')), await outputs(at('base'), at('b'))) > 0.01);
  assert.deepEqual(readdirSync(at('merged')).sort(), readdirSync(at('base')).sort());
  const made = JSON.parse(readFileSync(join(at('merged'), 'config.json'), 'utf8'));
  assert.deepEqual(made.architectures, ['BertForSequenceClassification']);
  assert.deepEqual(made.id2label, { 0: 'no', 1: 'maybe', 2: 'yes' });
  const shard = openSafetensors(join(at('merged'), 'model-00002-of-00002.safetensors'));
  assert.ok(shard.has('bert.encoder.layer.1.output.dense.weight') && shard.has('classifier.weight'));
});

test('several grafts fold in order: a moved start, biases, another LoRA', async () => {
  await merge('-m', at('base'), '-g', at('start'), '-g', at('biases'), '-g', at('b'), '-o', at('three'));
  assert.ok(apart(await outputs(at('three')), await outputs(at('base'), at('start'), at('biases'), at('b'))) <= 1e-5);
});

test('a graft fits the same body under a head', async () => {
  await merge('-m', at('base'), '-g', at('a'), '-o', at('headed'));
  await merge('-m', at('headed'), '-g', at('start'), '-o', at('again'));
  assert.ok(apart(await outputs(at('again')), await outputs(at('headed'), at('start'))) <= 1e-5);
});

test('what a graft leaves alone keeps its bytes and its type', async () => {
  await tinyBert('half', 1, 'BF16');
  await merge('-m', at('half'), '-g', at('start'), '-o', at('half-merged'));
  const [was, is] = await Promise.all([openCheckpoint(at('half')), openCheckpoint(at('half-merged'))]);
  assert.deepEqual(is.names(), was.names());
  for (const name of was.names()) {
    assert.equal(is.info(name).dtype, 'BF16');
    assert.equal(Buffer.compare(is.read(name), was.read(name)) === 0, !/query.weight|intermediate.dense.weight/.test(name), name);
  }
});

test('what cannot be merged exactly is refused, and nothing is left', async () => {
  const before = readdirSync(folder);
  const tied = await readGraft(at('a'));
  await writeOutput(at('tied'), (out) => writeGraft(out, { ...tied, head: { task: 'mlm' } } as Graft));
  await assert.rejects(merge('-m', at('base'), '-g', at('tied'), '-o', at('none')), refused(1, /uses the same weight; apply it with --graft/));
  await trained('bottleneck', 'bottleneck', {}, 7);
  await assert.rejects(merge('-m', at('base'), '-g', at('bottleneck'), '-o', at('none')), refused(1, /a bottleneck graft cannot be merged: .*; apply it with --graft/));
  const misfit = { ...tied, base: { type: 'gpt2', headers: '' } };
  await writeOutput(at('misfit'), (out) => writeGraft(out, misfit));
  await assert.rejects(merge('-m', at('base'), '-g', at('misfit'), '-o', at('none')), refused(65, /made for a gpt2 model/));
  await assert.rejects(merge('-m', at('base'), '-g', at('a')), refused(64, /--output is missing/));
  await assert.rejects(merge('-g', at('a'), '-g', at('b'), '--method', 'ties', '-o', at('none')), refused(64, /give --model/));
  await assert.rejects(merge('-g', at('a'), '-g', at('b'), '--weight', '1', '-o', at('none')), refused(64, /1 weights for 2/));
  for (const method of ['loha', 'codyra']) {
    await trained('product', method, { rank: 2 }, 8);
    await assert.rejects(merge('-g', at('product'), '-g', at('product'), '-o', at('none')), refused(64, new RegExp(`${method} grafts cannot be added up tensor by tensor: give --model`)));
  }
  assert.deepEqual(readdirSync(folder).filter((f) => !before.includes(f)).sort(), ['bottleneck', 'misfit', 'product', 'tied']);
});

test('LoRA grafts add exactly: ranks add', async () => {
  for (const name of ['a', 'b', 'c']) {
    const graft = await readGraft(at(name));
    const tensors = new Map([...graft.tensors].filter(([n]) => n.includes('lora_')));
    await writeOutput(at(`${name}-body`), (out) => writeGraft(out, { ...graft, head: null, tensors }));
  }
  for (const [first, rank] of [['a', 3], ['b', 2]] as const) {
    const parts = [at(`${first}-body`), at('c-body'), at('start')];
    await merge(...parts.filter((p) => first === 'b' || p !== at('c-body')).flatMap((p) => ['-g', p]), '--method', 'task-arithmetic', '--lambda', '2', '--weight', first === 'b' ? '.5,.5,.5' : '.5,.5', '-o', at('sum'));
    const sum = await readGraft(at('sum'));
    assert.deepEqual(sum.tensors.get('encoder.layer.0.attention.self.query.lora_A.weight')!.shape, [rank + 6 + (first === 'b' ? 4 : 0), d]);
    const folded = first === 'b' ? parts : [parts[0], parts[2]];
    assert.ok(apart(await outputs(at('base'), at('sum')), await outputs(at('base'), at('start'), ...folded.filter((p) => p !== at('start')))) <= 1e-5);
  }
  await merge('-g', at('a'), '-g', at('a'), '-o', at('mean'));
  assert.ok(apart(await outputs(at('base'), at('mean')), await outputs(at('base'), at('a'))) <= 1e-5);
});

test('checkpoints merge by a method; weights 1 and 0 give the first', async () => {
  await tinyBert('x', 8);
  await tinyBert('y', 9);
  await merge('--method', 'linear', '--weight', '1,0', '-m', at('base'), at('x'), at('y'), '-o', at('first'));
  assert.ok(apart(await outputs(at('first')), await outputs(at('x'))) === 0);
  await merge('--method', 'ties', '--density', '.5', '-m', at('base'), at('base'), at('base'), '-o', at('same'));
  assert.ok(apart(await outputs(at('same')), await outputs(at('base'))) <= 1e-6);
  await merge('-m', at('base'), '-g', at('start'), '-g', at('a-body'), '--method', 'task-arithmetic', '-o', at('both'));
  await merge('-m', at('base'), '-g', at('a-body'), '-g', at('start'), '-o', at('folded'));
  assert.ok(apart(await outputs(at('both')), await outputs(at('folded'))) <= 1e-5);
  await assert.rejects(merge('--method', 'slerp', at('x'), '-o', at('none')), refused(64, /merges two models/));
});
