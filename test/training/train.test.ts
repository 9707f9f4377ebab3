import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LONG } from '../support/long.js';
import { graft, interruptWhen, jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';

const folder = scratch();
const model = tinyBert(folder);
const data = jsonLines(join(folder, 'train.jsonl'), tinyRows(160, 1));
const held = jsonLines(join(folder, 'test.jsonl'), tinyRows(200, 2));
const start = join(folder, 'start.safetensors');
must(['init-adapter', '-m', model, '--method', 'lora', '--rank', '4', '--task', 'classify', '--labels', 'no,yes', '-o', start]);

const train = (...more: string[]): string[] => ['train', '-m', model, '-g', start, '-d', data, '--batch-size', '16', '--lr', '5e-3', '--threads', '2', ...more];
const losses = (log: string): number[] => readFileSync(log, 'utf8').trim().split('\n').map((l) => JSON.parse(l)).filter((e) => e.event === 'step').map((e) => e.loss);
const lines = (log: string): number => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0);
/** Growing numbers of log lines below `end`, drawn anew each time: wherever a run is killed it must resume. */
const killPoints = (n: number, end: number): number[] => Array.from({ length: n }, (_, i) => Math.floor(((i + Math.random()) / n) * end) + 1);
const accuracy = (g: string): number => JSON.parse(must(['eval', '-m', model, '-g', g, '-d', held, '--metrics', 'accuracy']).toString()).value;

test('a LoRA learns what the blank encoder does not know', () => {
  const out = join(folder, 'learnt.safetensors'), log = join(folder, 'log.jsonl');
  must([...train('--epochs', '8', '--backbone-dropout', 'off', '--log', log, '-o', out)]);
  const l = losses(log);
  assert.equal(l.length, 80);
  assert.ok(l.slice(-10).reduce((a, b) => a + b) < 0.9 * l.slice(0, 10).reduce((a, b) => a + b), `losses ${l[0]} … ${l.at(-1)}`);
  assert.ok(accuracy(out) > accuracy(start) + 0.15, `${accuracy(start)} → ${accuracy(out)}`);
});

test('the encoder drops as its configuration says, unless told otherwise', () => {
  const [dropped, again, whole] = [[], ['--backbone-dropout', 'checkpoint'], ['--backbone-dropout', 'off']].map((o) => {
    const log = join(folder, 'dropout.jsonl');
    must([...train('--steps', '2', '--log', log, ...o), '-o', '/dev/null']);
    return losses(log);
  });
  assert.deepEqual(again, dropped);
  assert.ok(Math.abs(whole[0] - dropped[0]) > 1e-4);
});

test('the same command gives the same bytes; another seed does not', () => {
  const run = (seed: string): Buffer => must([...train('--steps', '6', '--seed', seed)]);
  const first = run('3');
  assert.deepEqual(run('3'), first);
  assert.notDeepEqual(run('4'), first);
});

test('two half batches accumulated are one batch', () => {
  const a = join(folder, 'a.jsonl'), b = join(folder, 'b.jsonl');
  must([...train('--steps', '5', '--no-shuffle', '--backbone-dropout', 'off', '--log', a), '-o', '/dev/null']);
  must([...train('--steps', '5', '--no-shuffle', '--backbone-dropout', 'off', '--batch-size', '8', '--accumulate', '2', '--log', b), '-o', '/dev/null']);
  losses(a).forEach((l, i) => assert.ok(Math.abs(l - losses(b)[i]) < 1e-5, `step ${i + 1}: ${l} and ${losses(b)[i]}`));
});

test('a run killed again and again ends with the bytes of one left alone', async () => {
  const options = ['--steps', '60', '--valid', held, '--eval-every', '25', '--accumulate', '2', '--warmup', '0.1'];
  const calm = join(folder, 'calm.jsonl');
  const undisturbed = must(train(...options, '--checkpoint', join(folder, 'calm'), '--checkpoint-every', '1', '--log', calm));
  const run = join(folder, 'run'), log = join(folder, 'killed.jsonl'), out = join(folder, 'killed.safetensors');
  const args = train(...options, '--checkpoint', run, '--checkpoint-every', '1', '--log', log, '--resume', '-o', out);
  for (const events of killPoints(Number(process.env.GRAFT_KILLS ?? (LONG ? 100 : 3)), 120)) assert.equal(await interruptWhen(args, 'SIGKILL', () => lines(log) >= events), null);
  must(args);
  assert.deepEqual(readFileSync(out), undisturbed);
  assert.equal(readFileSync(log, 'utf8'), readFileSync(calm, 'utf8'));
});

test('a checkpoint of another run is refused', () => {
  const run = join(folder, 'other');
  must([...train('--steps', '2', '--checkpoint', run), '-o', '/dev/null']);
  const { status, stderr } = graft([...train('--steps', '3', '--checkpoint', run, '--resume'), '-o', '/dev/null']);
  assert.equal(status, 65);
  assert.match(stderr, /another run|other inputs or options/);
});

test('SIGTERM ends a run after its step with status 143 and no output', async () => {
  const out = join(folder, 'terminated.safetensors');
  const log = join(folder, 'term.jsonl');
  const status = await interruptWhen([...train('--steps', '100000'), '--checkpoint', join(folder, 'term'), '--log', log, '-o', out], 'SIGTERM', () => lines(log) > 3);
  assert.equal(status, 143);
  assert.ok(!existsSync(out));
  assert.ok(existsSync(join(folder, 'term', 'training.safetensors')));
});

test('early stopping keeps the best values', () => {
  const log = join(folder, 'early.jsonl');
  must([...train('--epochs', '12', '--valid', held, '--early-stopping', '1', '--log', log), '-o', '/dev/null']);
  const events = readFileSync(log, 'utf8').trim().split('\n').map((l) => JSON.parse(l));
  const evals = events.filter((e) => e.event === 'eval').map((e) => e.value as number);
  assert.equal(events.at(-1).best.value, Math.max(...evals));
});

test('what is wrong with the data is said with its row', () => {
  const bad = jsonLines(join(folder, 'bad.jsonl'), [{ text: 'w1', label: 0 }, { text: 'w2', label: 7 }]);
  const { status, stderr } = graft(['train', '-m', model, '-g', start, '-d', bad, '-o', '/dev/null']);
  assert.equal(status, 65);
  assert.match(stderr, /row 2: label 7/);
  const none = jsonLines(join(folder, 'none.jsonl'), [{ sentence: 'w1', label: 0 }]);
  const missing = graft(['train', '-m', model, '-g', start, '-d', none, '-o', '/dev/null']);
  assert.equal(missing.status, 65);
  assert.match(missing.stderr, /no column 'text'.*sentence, label/);
});

test('a network with running statistics goes on from its checkpoint with the same bytes', async () => {
  const at = (name: string): string => join(folder, name), pictures = at('shapes.arrow'), net = at('net.safetensors'), resnet = 'fixtures/resnet', run = at('net-run');
  must(['data', 'make', 'shapes10', '-n', '96', '--seed', '5', '-o', pictures]);
  must(['init-adapter', '-m', resnet, '--method', 'full', '-o', net]);
  const line = (out: string, ...more: string[]): string[] =>
    ['train', '-m', resnet, '-g', net, '-d', pictures, '--objective', 'classify', '--steps', '8', '--batch-size', '16', '--threads', '2', '-q', '-o', out, ...more];
  must(line(at('whole')));
  const resumed = line(at('resumed'), '--checkpoint', run, '--checkpoint-every', '1', '--resume');
  const stored = join(run, 'training.safetensors');
  const status = await interruptWhen(resumed, 'SIGKILL', () => existsSync(stored));
  assert.ok(status === null || status === 0, 'killed, or through before the signal came');
  must(resumed);
  assert.ok(readFileSync(at('resumed')).equals(readFileSync(at('whole'))));
});
