import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { graft, interrupt, jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';

const folder = scratch();
const model = tinyBert(folder);
const data = jsonLines(join(folder, 'train.jsonl'), tinyRows(160, 1));
const held = jsonLines(join(folder, 'test.jsonl'), tinyRows(200, 2));
const start = join(folder, 'start.safetensors');
must(['init-adapter', '-m', model, '--method', 'lora', '--rank', '4', '--task', 'classify', '--labels', 'no,yes', '-o', start]);

const train = (...more: string[]): string[] => ['train', '-m', model, '-g', start, '-d', data, '--batch-size', '16', '--lr', '5e-3', '--threads', '2', ...more];
const losses = (log: string): number[] => readFileSync(log, 'utf8').trim().split('\n').map((l) => JSON.parse(l)).filter((e) => e.event === 'step').map((e) => e.loss);
const accuracy = (g: string): number => JSON.parse(must(['eval', '-m', model, '-g', g, '-d', held, '--metrics', 'accuracy']).toString()).value;

test('a LoRA learns what the blank encoder does not know', () => {
  const out = join(folder, 'learnt.safetensors'), log = join(folder, 'log.jsonl');
  must([...train('--epochs', '8', '--log', log, '-o', out)]);
  const l = losses(log);
  assert.equal(l.length, 80);
  assert.ok(l.slice(-10).reduce((a, b) => a + b) < 0.9 * l.slice(0, 10).reduce((a, b) => a + b), `losses ${l[0]} … ${l.at(-1)}`);
  assert.ok(accuracy(out) > accuracy(start) + 0.15, `${accuracy(start)} → ${accuracy(out)}`);
});

test('the same command gives the same bytes; another seed does not', () => {
  const run = (seed: string): Buffer => must([...train('--steps', '6', '--seed', seed)]);
  const first = run('3');
  assert.deepEqual(run('3'), first);
  assert.notDeepEqual(run('4'), first);
});

test('two half batches accumulated are one batch', () => {
  const a = join(folder, 'a.jsonl'), b = join(folder, 'b.jsonl');
  must([...train('--steps', '5', '--no-shuffle', '--log', a), '-o', '/dev/null']);
  must([...train('--steps', '5', '--no-shuffle', '--batch-size', '8', '--accumulate', '2', '--log', b), '-o', '/dev/null']);
  losses(a).forEach((l, i) => assert.ok(Math.abs(l - losses(b)[i]) < 1e-5, `step ${i + 1}: ${l} and ${losses(b)[i]}`));
});

test('a run killed again and again ends with the bytes of one left alone', async () => {
  const undisturbed = must([...train('--steps', '60')]);
  const run = join(folder, 'run'), out = join(folder, 'killed.safetensors');
  const args = [...train('--steps', '60'), '--checkpoint', run, '--checkpoint-every', '1', '--resume', '-o', out];
  let kills = 0;
  for (const delay of [700, 1000, 850]) if ((await interrupt(args, 'SIGKILL', delay)) === null) kills++;
  assert.ok(kills > 0, 'every run was over before it could be killed');
  must(args);
  // The history names the command, which differs; the tensors and the rest must not.
  const tensors = (bytes: Buffer): Buffer => bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
  assert.deepEqual(tensors(readFileSync(out)), tensors(undisturbed));
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
  const status = await interrupt([...train('--steps', '100000'), '--checkpoint', join(folder, 'term'), '-o', out], 'SIGTERM', 2500);
  assert.equal(status, 143);
  assert.ok(!existsSync(out));
  assert.ok(existsSync(join(folder, 'term', 'training.safetensors')));
});

test('early stopping keeps the best values', () => {
  const log = join(folder, 'early.jsonl');
  must([...train('--epochs', '12', '--valid', held, '--early-stopping', '1', '--log', log), '-o', '/dev/null']);
  const events = readFileSync(log, 'utf8').trim().split('\n').map((l) => JSON.parse(l));
  const evals = events.filter((e) => e.event === 'eval').map((e) => e.value as number);
  assert.equal(events.at(-1).best, Math.max(...evals));
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
