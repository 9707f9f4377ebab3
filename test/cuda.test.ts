// Commands with --backend cuda, without a GPU: kernels/cuda/emulator stands in for NVIDIA's libraries. GRAFT_TEST_GPU=1: on the real ones.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tableFromIPC } from 'apache-arrow';
import { graft, jsonLines, must, scratch, tinyBert, tinyDecoder, tinyRows } from './support/tiny.js';

const root = fileURLToPath(new URL('../../', import.meta.url)), folder = join(root, 'kernels/build/emulator');
const ON_CARD = process.env.GRAFT_TEST_GPU === '1';
const made = ON_CARD ? null : spawnSync('make', ['-s', '-j2', '-C', join(root, 'kernels'), 'emulator'], { encoding: 'utf8' });
const skip = !made || (made.status === 0 && existsSync(join(folder, 'libcuda.so.1'))) ? false : `the emulator was not built: ${made.stderr}`;
const own = scratch();
if (!ON_CARD) Object.assign(process.env, { GRAFT_CUDA: folder, XDG_CACHE_HOME: own });

const BOTH = ['cpu', 'cuda'] as const;

/** Every number of the second within a small distance of the first's, everything else the same. */
function near(actual: unknown, expected: unknown, where = '', tolerance = 2e-4): void {
  if (typeof expected === 'number' && typeof actual === 'number') return assert.ok(Math.abs(actual - expected) <= tolerance * (1 + Math.abs(expected)), `${where}: ${actual}, not ${expected}`);
  if (typeof expected !== 'object' || expected === null) return assert.deepEqual(actual, expected, where);
  assert.deepEqual(Object.keys(actual as object), Object.keys(expected), where);
  for (const [key, value] of Object.entries(expected)) near((actual as Record<string, unknown>)[key], value, `${where}.${key}`, tolerance);
}

const lines = (text: string): unknown[] => text.trim().split('\n').map((line) => JSON.parse(line));

test('a text encoder is adapted, measured and merged as on the CPU', { skip }, () => {
  const model = tinyBert(own), data = jsonLines(join(own, 'rows.jsonl'), tinyRows(32, 1)), start = join(own, 'start.safetensors');
  must(['init-adapter', '-m', model, '--method', 'lora', '--rank', '3', '--target-modules', 'all-linear', '--task', 'classify', '--labels-from', data, '-o', start]);
  const [cpu, cuda] = BOTH.map((backend) => {
    const [eva, log, out, merged] = ['eva', 'log', 'out', 'merged'].map((name) => join(own, `${name}-${backend}`)), on = ['--backend', backend];
    must(['svd-init', '-m', model, '-g', start, '--method', 'eva', '-d', data, '--batch-size', '8', ...on, '-o', eva]);
    must(['train', '-m', model, '-g', eva, '-d', data, '--epochs', '2', '--batch-size', '8', '--lr', '1e-2', '--log', log, ...on, '-o', out]);
    must(['merge', '-m', model, '-g', out, ...on, '-o', merged]);
    return [lines(readFileSync(log, 'utf8')), lines(must(['eval', '-m', model, '-g', out, '-d', data, ...on]).toString()), lines(must(['eval', '-m', merged, '-d', data, ...on]).toString())];
  });
  near(cuda, cpu);
});

test('the order in which blocks and threads run does not show: the same bytes', { skip }, () => {
  const model = join(own, 'bert'), args = ['train', '-m', model, '-g', join(own, 'eva-cpu'), '-d', join(own, 'rows.jsonl'), '--steps', '3', '--batch-size', '8', '--backend', 'cuda'];
  const [first, second] = ['11', '12'].map((seed) => {
    process.env.GRAFT_EMULATOR_SEED = seed;
    const out = join(own, `order-${seed}`);
    must([...args, '-o', out]);
    return readFileSync(out);
  });
  delete process.env.GRAFT_EMULATOR_SEED;
  assert.deepEqual(second, first);
});

test('text is generated as on the CPU', { skip }, () => {
  const model = tinyDecoder(own), prompts = jsonLines(join(own, 'prompts.jsonl'), tinyRows(3, 2).map(({ text }) => ({ prompt: text })));
  for (const method of [[], ['--method', 'sample', '--samples', '2'], ['--method', 'beam', '--beams', '2']]) {
    const [cpu, cuda] = BOTH.map((backend) => must(['generate', '-m', model, '-d', prompts, '--max-new', '5', ...method, '--backend', backend]))
      .map((bytes) => tableFromIPC(bytes).toArray().map((row) => row.toJSON() as object));
    near(cuda, cpu);
  }
});

test('a decoder is adapted over weights of 4 and of 8 bits as on the CPU', { skip }, () => {
  const model = join(own, 'gpt2'), data = jsonLines(join(own, 'texts.jsonl'), tinyRows(24, 5).map(({ text }) => ({ text }))), start = join(own, 'lora');
  must(['init-adapter', '-m', model, '--method', 'lora', '--rank', '3', '--target-modules', 'all-linear', '-o', start]);
  const whole = lines(must(['eval', '-m', model, '-d', data, '--backend', 'cpu']).toString());
  for (const precision of ['nf4', 'int8']) {
    const [cpu, cuda] = BOTH.map((backend) => {
      const out = join(own, `${precision}-${backend}`), on = ['--backend', backend, '--precision', precision];
      const before = lines(must(['eval', '-m', model, '-d', data, ...on]).toString());
      must(['train', '-m', model, '-g', start, '-d', data, '--objective', 'clm', '--steps', '6', '--batch-size', '8', '--lr', '2e-2', ...on, '-o', out]);
      return [before, lines(must(['eval', '-m', model, '-g', out, '-d', data, ...on]).toString())];
    });
    near(cuda, cpu, precision, 1e-2);
    assert.notDeepEqual(cpu[0], whole);
    const nll = ([metric]: unknown[]): number => (metric as { value: number }).value;
    assert.ok(nll(cpu[1]) < nll(cpu[0]), `${precision}: ${JSON.stringify(cpu)}`);
  }
});

test('an image model adapts at test time as on the CPU', { skip }, () => {
  const stream = join(own, 'stream.arrow');
  must(['data', 'make', 'shapes10', '-n', '12', '--seed', '3', '-o', stream]);
  const [cpu, cuda] = BOTH.map((backend) => {
    const predicted = must(['tta', '-m', join(root, 'fixtures/resnet'), '--method', 'tent', '--batch-size', '6', '-d', stream, '--backend', backend]);
    return lines(must(['eval', '--metrics', 'nll,error'], predicted).toString());
  });
  near(cuda, cpu);
});

test('what is missing, and memory that does not suffice, are one line', { skip: skip || (ON_CARD && 'of the emulator') }, () => {
  const model = join(own, 'bert'), data = join(own, 'rows.jsonl'), args = ['eval', '-m', model, '-g', join(own, 'out-cpu'), '-d', data, '--backend', 'cuda'];
  const line = (environment: Record<string, string>): string => {
    const before = { ...process.env };
    try {
      Object.assign(process.env, environment);
      const { status, stderr } = graft(args);
      assert.equal(status, 1);
      return stderr;
    } finally {
      for (const name of Object.keys(environment)) delete process.env[name];
      Object.assign(process.env, before);
    }
  };
  assert.match(line({ GRAFT_EMULATOR_CAPABILITY: '61' }), /^graft eval: cuda: the emulated GPU has compute capability 6\.1; graft needs 8\.0.*\n$/);
  assert.match(line({ GRAFT_EMULATOR_MEMORY: '20000' }), /^graft eval: cuda: out of memory: .* on the emulated GPU: lower --batch-size or --max-length, or give --precision bf16\n$/);
  assert.match(line({ GRAFT_ADDON: 'none' }), /^graft eval: backend 'cuda' needs the native addon, which was not built.*\n$/);
});
