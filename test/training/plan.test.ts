import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { MemoryPlan } from '../../src/training/plan.js';
import { graft, jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';

const root = fileURLToPath(new URL('../../../', import.meta.url)), own = scratch(), emulator = join(root, 'kernels/build/emulator');
const made = spawnSync('make', ['-s', '-j2', '-C', join(root, 'kernels'), 'emulator'], { encoding: 'utf8' });
const emulated = made.status === 0 && existsSync(join(emulator, 'libcuda.so.1'));

/** The kernels' own counters at the end of a command, run in a process of its own. */
function measured(args: readonly string[], env: NodeJS.ProcessEnv = {}): { peak: number; packed: number } {
  const text = `const { tf } = await import(${JSON.stringify(join(root, 'kernels/dist/src/index.js'))}), { native } = await import(${JSON.stringify(join(root, 'kernels/dist/src/native.js'))});
    const addon = native(), seen = {};
    for (const step of ['adamw', 'cuda:adamw']) {
      const run = addon[step];
      addon[step] = (...args) => (run(...args), Object.assign(seen, tf.memory()));
    }
    const { main } = await import(${JSON.stringify(join(root, 'dist/src/cli.js'))});
    await main(${JSON.stringify(args)});
    console.log('\\n' + JSON.stringify(seen));`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', text], { encoding: 'utf8', maxBuffer: 1 << 28, env: { ...process.env, ...env } });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as { peak: number; packed: number };
}

const blank = (name: string, config: object, ...rest: string[]): string => {
  const path = join(own, name);
  writeFileSync(`${path}.json`, JSON.stringify(config));
  must(['init-model', '-c', `${path}.json`, '-o', path, ...rest]);
  return path;
};

const texts = jsonLines(join(own, 'rows.jsonl'), tinyRows(24, 1)), bert = tinyBert(own), words = join(own, 'tokenizer.json');
const images = join(own, 'images.arrow');
must(['data', 'make', 'shapes10', '-n', '12', '--seed', '3', '-o', images]);

const CASES: [string, string, string, string[], ('int8' | 'nf4')?][] = [
  ['BERT, LoRA', bert, texts, ['--method', 'lora', '--rank', '4', '--target-modules', 'all-linear', '--dropout', '0.1']],
  ['int8', bert, texts, ['--method', 'lora'], 'int8'],
  ['NF4', bert, texts, ['--method', 'lora'], 'nf4'],
  ['BERT, whole', bert, texts, ['--method', 'full']],
  ['Llama, DoRA', blank('llama', { model_type: 'llama', hidden_size: 64, intermediate_size: 160, num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 2, vocab_size: 50, max_position_embeddings: 32 }, words), texts, ['--method', 'dora', '--target-modules', 'all-linear']],
  ['ViT, IA3', blank('vit', { model_type: 'vit', hidden_size: 48, intermediate_size: 96, num_hidden_layers: 3, num_attention_heads: 4, image_size: 32, patch_size: 8 }), images, ['--method', 'ia3']],
  ['ResNet, AdaLoRA', blank('resnet', { model_type: 'resnet', embedding_size: 16, hidden_sizes: [16, 32, 64], depths: [1, 1, 1], layer_type: 'basic' }), images, ['--method', 'adalora']],
];

for (const [name, model, data, method, precision = 'f32'] of CASES) {
  test(`the plan is what is measured: ${name}`, () => {
    const graft = join(own, `${name}.graft`);
    must(['init-adapter', '-m', model, ...method, '--task', 'classify', '--labels-from', data, '-o', graft]);
    const train = ['train', '-m', model, '-g', graft, '-d', data, '--batch-size', '24', '--steps', '3', '--precision', precision];
    const plans = must([...train, '--dry-run', '--json']).toString().trim().split('\n').map((line) => JSON.parse(line) as MemoryPlan);
    assert.deepEqual(plans.map((p) => [p.device, p.gradientCheckpointing]), [['cpu', false], ['cpu', true], ['cuda', false], ['cuda', true]]);
    for (const plan of plans.filter((p) => p.device === 'cpu' || (emulated && name.startsWith('BERT')))) {
      const { frozen, packed, trained, untrained, gradients, optimiser, activations, peak } = plan, onCard = plan.device === 'cuda';
      assert.equal((onCard ? frozen : packed) + trained + untrained + gradients + optimiser + activations, peak, 'the parts are the whole');
      const found = measured([...train, '--backend', plan.device, '-o', join(own, 'out'), ...(plan.gradientCheckpointing ? ['--gradient-checkpointing'] : [])], onCard ? { GRAFT_CUDA: emulator, XDG_CACHE_HOME: own } : {});
      const near = (planned: number, actual: number, what: string): void => assert.ok(Math.abs(planned - actual) <= 0.03 * actual + 4096, `${what} on ${plan.device}, checkpointing ${plan.gradientCheckpointing}: ${planned} bytes planned, ${actual} measured`);
      near(onCard ? peak : peak - packed, found.peak, 'peak of tensors');
      near(onCard ? frozen : packed, found.packed, 'copies of weights');
    }
    if (/Llama|ViT/.test(name)) for (const i of [0, 2]) assert.ok(plans[i + 1].activations < plans[i].activations);
  });
}

test('a dry run needs no output and writes nothing but its table', () => {
  const graft = join(own, 'BERT, LoRA.graft');
  const table = must(['train', '-m', bert, '-g', graft, '-d', texts, '--batch-size', '7', '--dry-run', '-o', join(own, 'never')]).toString();
  assert.match(table, /^largest batch: 7 rows of up to \d+ tokens\nMiB +cpu f32 +cpu f32 +cuda f32 +cuda f32\n +checkpointing +checkpointing\nfrozen weights( +\d+\.\d\*){2}( +\d+\.\d){2}\n/);
  assert.ok(!existsSync(join(own, 'never')));
});

test('a run that memory does not suffice for ends with one line that says what lowers it, and writes nothing', () => {
  const out = join(own, 'none'), train = ['train', '-m', bert, '-g', join(own, 'BERT, LoRA.graft'), '-d', texts, '--batch-size', '24', '--steps', '1', '-o', out];
  const short = (megabytes: string, more: string[]): string => {
    process.env.GRAFT_MEMORY = megabytes;
    try {
      const { status, stderr } = graft([...train, ...more]);
      assert.deepEqual([status, existsSync(out)], [1, false]);
      return stderr;
    } finally {
      delete process.env.GRAFT_MEMORY;
    }
  };
  assert.match(short('0.5', []), /^graft train: out of memory: 1 MiB more do not fit beside 1 MiB in use, of 1 MiB: lower --batch-size or --max-length, or give --gradient-checkpointing or --precision bf16\n$/);
  assert.match(short('0.02', ['--batch-size', '1', '--gradient-checkpointing']), /: lower --max-length, or give --precision bf16\n$/);
});
