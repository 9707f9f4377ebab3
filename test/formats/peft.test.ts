import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseCommandLine } from '../../src/command-line.js';
import convert from '../../src/commands/convert.js';
import { GraftError } from '../../src/errors.js';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { bytesOf, decode } from '../../src/formats/dtype.js';
import { readGraft, writeGraft, type Graft, type StoredTensor } from '../../src/formats/graft.js';
import { writeOutput } from '../../src/formats/output.js';
import { asText, inspect } from '../../src/inspection.js';
import { ROOT } from '../models/golden.js';
import { graft as cli, must, tinyDecoder } from '../support/tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-'));
const at = (name: string): string => join(folder, name);
after(() => rmSync(folder, { recursive: true }));

const stored = (shape: number[], ...values: number[]): StoredTensor => ({ dtype: 'F32', shape, data: bytesOf(Float32Array.from(values)) });
const module = 'encoder.layer.0.attention.self.query';
const graft: Graft = {
  method: 'lora', base: { type: 'bert', headers: '' }, head: { task: 'classify', labels: ['LABEL_0', 'LABEL_1'] }, history: [],
  config: { rank: 1, alpha: 2, dropout: 0, rslora: false, loraBias: false, init: 'kaiming', rankPattern: [], alphaPattern: [], targetModules: ['query'] },
  tensors: new Map([[`${module}.lora_A.weight`, stored([1, 2], 1, 2)], [`${module}.lora_B.weight`, stored([2, 1], 3, 4)], ['classifier.weight', stored([2, 2], 1, 2, 3, 4)], ['classifier.bias', stored([2], 5, 6)]]),
};

async function run(name: string, value: Graft, ...argv: string[]): Promise<void> {
  await writeOutput(at(name), (out) => writeGraft(out, value));
  const parsed = await parseCommandLine(convert, [at(name), ...argv]);
  assert.ok('args' in parsed);
  await convert.run(parsed.args);
}

test('a graft written for PEFT stands under its class and comes back', async () => {
  await run('plain', graft, '--to', 'peft', '-o', at('peft'));
  const config = JSON.parse(readFileSync(join(at('peft'), 'adapter_config.json'), 'utf8'));
  assert.deepEqual([config.r, config.lora_alpha, config.task_type, config.modules_to_save, config.target_modules], [1, 2, 'SEQ_CLS', ['classifier'], [`bert.${module}`]]);
  const back = await readGraft(at('peft'));
  assert.deepEqual(back.head, graft.head);
  assert.deepEqual([...back.tensors.keys()].sort(), [`bert.${module}.lora_A.weight`, `bert.${module}.lora_B.weight`, 'classifier.bias', 'classifier.weight']);
  assert.deepEqual(back.tensors.get(`bert.${module}.lora_B.weight`)!.data, graft.tensors.get(`${module}.lora_B.weight`)!.data);
});

test('a moved start becomes plain LoRA of twice the rank', async () => {
  const tensors = new Map([...graft.tensors, [`${module}.lora_A0.weight`, stored([1, 2], 1, 1)], [`${module}.lora_B0.weight`, stored([2, 1], 1, 0)]] as [string, StoredTensor][]);
  await run('moved', { ...graft, config: { ...graft.config, residual: true }, tensors }, '--to', 'peft', '-o', at('doubled'));
  const { config, tensors: plain } = await readGraft(at('doubled'));
  const [A, B] = ['A', 'B'].map((f) => decode(plain.get(`bert.${module}.lora_${f}.weight`)!.data, 'F32')!);
  const scale = Number(config.alpha) / Number(config.rank);
  const delta = [0, 1].flatMap((i) => [0, 1].map((j) => scale * (B[2 * i] * A[j] + B[2 * i + 1] * A[2 + j])));
  assert.equal(config.rank, 2);
  assert.deepEqual(delta, [2 * (3 - 1), 2 * (6 - 1), 2 * 4, 2 * 8]);
});

test('what PEFT has no form for is refused', async () => {
  await assert.rejects(run('full', { ...graft, method: 'full' }, '--to', 'peft', '-o', at('none')), (e) => e instanceof GraftError && e.status === 1 && /no form in the PEFT layout/.test(e.message));
});

test('a prompt tells PEFT its task: that of its head, or of the model it is given', async () => {
  const model = tinyDecoder(folder), prompt = at('prompt.safetensors');
  must(['init-adapter', '-m', model, '--method', 'prompt', '-o', prompt]);
  const told = cli(['convert', '--to', 'peft', prompt, '-o', at('prompt-peft')]);
  assert.deepEqual([told.status, told.stderr], [1, 'graft convert: PEFT runs prompt adapters for a task alone, and this graft has no head that says one: give the model with --model\n']);
  must(['convert', '--to', 'peft', '-m', model, prompt, '-o', at('prompt-peft')]);
  assert.equal(JSON.parse(readFileSync(join(at('prompt-peft'), 'adapter_config.json'), 'utf8')).task_type, 'CAUSAL_LM');
  const classifier = join(ROOT, 'test/golden/models/bert-classify'), skills = at('skills.safetensors');
  must(['init-adapter', '-m', classifier, '--method', 'poly', '--tasks', 'a', '-o', skills]);
  must(['convert', '--to', 'peft', '-m', classifier, skills, '-o', at('skills-peft')]);
  const { task_type, modules_to_save } = JSON.parse(readFileSync(join(at('skills-peft'), 'adapter_config.json'), 'utf8'));
  assert.deepEqual([task_type, modules_to_save], ['SEQ_CLS', ['classifier']]);
  const { tensors, head } = await readGraft(at('skills-peft')), checkpoint = await openCheckpoint(classifier);
  assert.deepEqual(Buffer.from(tensors.get('classifier.weight')!.data), Buffer.from(checkpoint.read('classifier.weight')));
  assert.equal(head?.task, 'classify');
  checkpoint.close();
});

test('inspect shows modules, ranks and sizes', async () => {
  await run('shown', graft, '--to', 'graft', '--dtype', 'bf16', '-o', at('half'));
  const { kind, facts, rows } = await inspect(at('half'));
  assert.equal(kind, 'graft');
  assert.deepEqual([facts.method, facts.parameters, facts.bytes], ['lora', 10, 20]);
  assert.deepEqual(rows, [{ module: 'classifier', tensors: 2, parameters: 6 }, { module, tensors: 2, parameters: 4, rank: 1 }]);
  assert.match(asText(await inspect(at('half'))), /^encoder\.layer\.0\.attention\.self\.query {2} +2 +4 +1$/m);
});
