// Commands with --backend cuda, without a GPU: kernels/cuda/emulator stands in for NVIDIA's libraries. GRAFT_TEST_GPU=1: on the real ones.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { besideCpu, lines, near } from './support/beside.js';
import { graft, jsonLines, must, scratch, tinyRows } from './support/tiny.js';

const root = fileURLToPath(new URL('../../', import.meta.url)), folder = join(root, 'kernels/build/emulator');
const ON_CARD = process.env.GRAFT_TEST_GPU === '1';
const made = ON_CARD ? null : spawnSync('make', ['-s', '-j2', '-C', join(root, 'kernels'), 'emulator'], { encoding: 'utf8' });
const skip = !made || (made.status === 0 && existsSync(join(folder, 'libcuda.so.1'))) ? false : `the emulator was not built: ${made.stderr}`;
const own = scratch();
if (!ON_CARD) Object.assign(process.env, { GRAFT_CUDA: folder, XDG_CACHE_HOME: own });

besideCpu('cuda', own, skip);

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

test('a decoder is adapted over weights of 4 and of 8 bits as on the CPU', { skip }, () => {
  const model = join(own, 'gpt2'), data = jsonLines(join(own, 'texts.jsonl'), tinyRows(24, 5).map(({ text }) => ({ text }))), start = join(own, 'lora');
  must(['init-adapter', '-m', model, '--method', 'lora', '--rank', '3', '--target-modules', 'all-linear', '-o', start]);
  const whole = lines(must(['eval', '-m', model, '-d', data, '--backend', 'cpu']).toString());
  for (const precision of ['nf4', 'int8']) {
    const [cpu, cuda] = ['cpu', 'cuda'].map((backend) => {
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

test('steps that are queued as CUDA graphs give the bytes of steps that are not', { skip }, () => {
  const model = join(own, 'gpt2'), data = jsonLines(join(own, 'packed.jsonl'), tinyRows(40, 7).map(({ text }) => ({ text }))), start = join(own, 'packed-lora');
  must(['init-adapter', '-m', model, '--method', 'lora', '--rank', '3', '--target-modules', 'all-linear', '-o', start]);
  const train = (...more: string[]): [Buffer, unknown[]] => {
    const [out, log] = ['out', 'log'].map((name) => join(own, `graphs-${more.length}-${name}`));
    must(['train', '-m', model, '-g', start, '-d', data, '--objective', 'clm', '--max-length', '5', '--backbone-dropout', 'off', '--steps', '7', '--batch-size', '4', '--accumulate', '2', '--drop-last', '--lr', '2e-2', '--backend', 'cuda', '--log', log, '-o', out, ...more]);
    return [readFileSync(out), lines(readFileSync(log, 'utf8'))];
  };
  const [plain, steps] = train(), [graphs, events] = train('--cuda-graphs');
  assert.deepEqual(graphs, plain);
  const used = events.find((e) => (e as { event: string }).event === 'graphs') as { recorded: number; repeated: number };
  assert.deepEqual(events.filter((e) => e !== used), steps);
  assert.deepEqual([used.recorded, used.repeated], [2, 12]); // both batches of a step, from the second step on
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

test('training with weights that come to the GPU as they are needed writes the same bytes; on the CPU there is nothing to offload', { skip }, () => {
  const args = ['train', '-m', join(own, 'bert'), '-d', join(own, 'rows.jsonl'), '--steps', '2', '--batch-size', '8'];
  const start = must(['init-adapter', '-m', join(own, 'bert'), '--method', 'lora', '--task', 'classify', '--labels-from', join(own, 'rows.jsonl')]);
  const [there, offloaded] = [[], ['--offload']].map((more) => must([...args, '--backend', 'cuda', ...more], start));
  assert.deepEqual(offloaded, there);
  const { status, stderr } = graft([...args, '--backend', 'cpu', '--offload'], start);
  assert.equal(status, 64);
  assert.equal(stderr, 'graft train: --offload: weights are offloaded from a GPU: give --backend cuda\n');
  for (const [more, said] of [['--cuda-graphs', 'a recording needs its weights where they are'], ['--precision=nf4', 'leave out --precision nf4']]) {
    const refused = graft([...args, '--backend', 'cuda', '--offload', more], start);
    assert.equal(refused.status, 64);
    assert.ok(refused.stderr.includes(said), refused.stderr);
  }
});
