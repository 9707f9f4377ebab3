import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { commandSummaries, loadCommand } from '../src/commands/registry.js';
import { TOUR } from '../src/man.js';
import { jsonLines, must, scratch, tinyDecoder, tinyRows, tinyUnet } from './support/tiny.js';

/** The examples of all commands, run as they stand in the manual, in the folder a reader would have after those before them. */
const ORDER = ['data', 'init-model', 'init-adapter', 'svd-init', 'train', 'merge', 'tta', 'predict', 'eval', 'generate', 'plot', 'inspect', 'convert', 'methods', 'completion'];

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = scratch();

before(async () => {
  mkdirSync(join(folder, 'bin'));
  symlinkSync(join(root, 'bin/graft.js'), join(folder, 'bin/graft'));
  for (const name of ['minilm', 'a', 'b']) symlinkSync(join(root, 'fixtures/encoder'), join(folder, name));
  symlinkSync(join(root, 'fixtures/resnet'), join(folder, 'resnet'));
  copyFileSync(join(root, 'fixtures/configs/encoder.json'), join(folder, 'config.json'));
  copyFileSync(join(root, 'fixtures/encoder/tokenizer.json'), join(folder, 'tokenizer.json'));
  mkdirSync(join(folder, 'small'));
  symlinkSync(tinyDecoder(join(folder, 'small')), join(folder, 'gpt2'));
  symlinkSync(tinyUnet(join(folder, 'small')), join(folder, 'unet'));
  must(['init-adapter', '-m', join(folder, 'gpt2'), '--method', 'lora', '-o', join(folder, 'story.safetensors')]);
  must(['init-adapter', '-m', join(folder, 'minilm'), '--method', 'poly', '--tasks', 'now', '--task', 'classify', '--labels', 'no,yes', '-o', join(folder, 'skills.safetensors')]);
  jsonLines(join(folder, 'later.jsonl'), tinyRows(8, 2).map((row) => ({ ...row, task: 'later' })));
  jsonLines(join(folder, 'prompts.jsonl'), tinyRows(5, 1).map(({ text }) => ({ prompt: text })));
  writeFileSync(join(folder, 'merge.yml'), 'merge_method: slerp\nbase_model: a\nmodels: [{model: a}, {model: b}]\nparameters: {t: [0, 0.5, 1]}\n');
  writeFileSync(join(folder, 'reviews.tsv'), 'a fine film\tgood\na dull one\tbad\n');
  writeFileSync(join(folder, 'TREC.train'), 'DESC:manner How did serfdom develop ?\nENTY:animal What fowl grabs the spotlight ?\n');
  for (const [name, colour] of [['red', '#f00'], ['blue', '#00f']]) {
    mkdirSync(join(folder, 'pictures', name), { recursive: true });
    await sharp({ create: { width: 8, height: 8, channels: 3, background: colour } }).png().toFile(join(folder, 'pictures', name, '1.png'));
  }
  must(['data', 'make', 'topics', '-n', '40', '--seed', '9', '-o', join(folder, 'old.arrow')]);
  must(['init-adapter', '-m', join(folder, 'minilm'), '--method', 'dsee', '--rank', '2', '-o', join(folder, 'dsee.safetensors')]);
  const shapes = must(['data', 'make', 'shapes10', '-n', '40']);
  for (const method of ['source', 'tent']) must(['tta', '-m', join(folder, 'resnet'), '--method', method, '--batch-size', '20', '-o', join(folder, `${method}.arrow`)], shapes);
  assert.equal(spawnSync('tar', ['-cf', 'pictures.tar', '-C', 'pictures', 'red', 'blue'], { cwd: folder }).status, 0);
});

function runs(line: string): void {
  const env = { ...process.env, PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH}` };
  const { status, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', line], { cwd: folder, env, encoding: 'utf8', maxBuffer: 1 << 26 });
  assert.equal(status, 0, `${line}\n${stderr}`);
}

test('no command is left out', () => assert.deepEqual([...ORDER].sort(), commandSummaries().map(([name]) => name).sort()));

for (const name of ORDER) {
  test(`the examples of graft ${name} run`, async () => {
    const { examples } = (await loadCommand(name))!;
    assert.ok(examples.length > 0);
    for (const { command } of examples) runs(command);
  });
}

test('the tour of graft(1) runs', () => TOUR.forEach(({ command }) => runs(command)));
