import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readGraft, type Graft, type StoredTensor } from '../../src/formats/graft.js';
import { graft, interruptWhen, jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';

const folder = scratch();
const at = (name: string): string => join(folder, name);
const model = tinyBert(folder);
/** Two tasks: what the rows of `b` are labelled is the other way round. */
const rows = tinyRows(96, 4).map((r, i) => (i % 2 ? { ...r, task: 'a' } : { ...r, label: 1 - r.label, task: 'b' }));
const data = jsonLines(at('train.jsonl'), rows);
const train = (start: string, ...more: string[]): string[] => ['train', '-m', model, '-g', start, '-d', data, '--batch-size', '16', '--lr', '5e-3', '--threads', '2', ...more];
const fresh = (name: string, ...options: string[]): string => {
  must(['init-adapter', '-m', model, '--method', name, '--task', 'classify', '--labels', 'no,yes', ...options, '-o', at(`${name}.safetensors`)]);
  return at(`${name}.safetensors`);
};
const failure = (args: string[]): [number | null, string] => {
  const { status, stderr } = graft(args);
  return [status, stderr];
};

/** Methods whose ranks move in training, and the mean rank they end with where they have one to reach. */
const MOVING: [string, number | null, ...string[]][] = [
  ['adalora', 1, '--rank', '4', '--target-rank', '1', '--tinit', '3', '--tfinal', '5', '--delta-t', '2'],
  ['increlora', 3, '--target-rank', '3', '--reserve', '1', '--top', '4', '--init-warmup', '1', '--interval', '3'],
  ['triadaptlora', 3, '--target-rank', '3', '--block', '1', '--init-warmup', '1', '--interval', '3'],
  ['codyra', null, '--kappa', '0.2'],
];
for (const [name, rank, ...given] of MOVING) {
  test(`${name} killed at any step ends with the ranks and bytes of a run left alone`, async () => {
    const start = fresh(name, ...given), log = at(`${name}-killed.jsonl`), end = at(`${name}-killed.safetensors`);
    const options = ['--steps', '16', '--checkpoint-every', '1', '--log'];
    const calm = must(train(start, ...options, at('calm.jsonl'), '--checkpoint', at(`${name}-calm`)));
    const args = train(start, ...options, log, '--checkpoint', at(`${name}-killed`), '--resume', '-o', end);
    const lines = (): number => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').length : 0);
    for (const n of [8, 20]) assert.equal(await interruptWhen(args, 'SIGKILL', () => lines() >= n), null);
    must(args);
    assert.deepEqual(readFileSync(end), calm);
    const { tensors } = await readGraft(end);
    const ranks = [...tensors].filter(([tensor]) => /_A(\.weight)?$/.test(tensor)).map(([, t]) => t.shape[0]);
    if (rank) assert.equal(ranks.reduce((a, b) => a + b), rank * ranks.length, `${ranks}`);
    else assert.ok(Math.min(...ranks) < 16 && Math.max(...ranks) > 0, `${ranks}`);
    assert.match(must(['plot', 'ranks', end]).toString(), /<svg/);
  });
}

test('tasks share skills through the column task; of a stored inventory the router alone is trained', async () => {
  const start = fresh('poly', '--rank', '4', '--skills', '2', '--tasks', 'a', '--tasks', 'b', '--tasks', 'later');
  must(train(start, '--steps', '8', '-o', at('inventory.safetensors')));
  const accuracy = (g: string, file: string): number => JSON.parse(must(['eval', '-m', model, '-g', g, '-d', file, '--metrics', 'accuracy']).toString()).value;
  must(['merge', '-g', at('inventory.safetensors'), '--task', 'a', '-o', at('a.safetensors')]);
  const only = jsonLines(at('a.jsonl'), rows.filter((r) => r.task === 'a'));
  assert.equal(accuracy(at('a.safetensors'), only), accuracy(at('inventory.safetensors'), only));

  const later = jsonLines(at('later.jsonl'), rows.filter((r) => r.task === 'b').map((r) => ({ ...r, task: 'later' })));
  must(['train', '-m', model, '-g', at('inventory.safetensors'), '-d', later, '--only', 'poly_router', '--steps', '2', '-o', at('z.safetensors')]);
  const [before, after] = await Promise.all([readGraft(at('inventory.safetensors')), readGraft(at('z.safetensors'))]);
  for (const [name, { data: bytes, shape }] of before.tensors) {
    const now = after.tensors.get(name)!.data;
    if (!name.endsWith('module_logits')) assert.deepEqual(now, bytes, name);
    else assert.deepEqual([now.slice(0, 2 * shape[1] * 4), Buffer.from(now).equals(bytes)], [bytes.slice(0, 2 * shape[1] * 4), false], `${name}: the row of the new task alone`);
  }
});

test('a new task starts from skills that others share: its row alone, or with the skills, is trained', async () => {
  const startOf = (name: string, seed: number): Promise<Graft> => {
    must(['merge', '-g', at('inventory.safetensors'), '--new-task', name, '--seed', String(seed), '-o', at('new.safetensors')]);
    return readGraft(at('new.safetensors'));
  };
  const floats = ({ data: bytes }: StoredTensor): Float32Array => new Float32Array(Uint8Array.from(bytes).buffer);
  const [before, other] = [await readGraft(at('inventory.safetensors')), await startOf('b', 1)];
  const started = await startOf('fresh', 0);
  assert.deepEqual([started.config.tasks, other.config.tasks], [['a', 'b', 'later', 'fresh'], ['a', 'b', 'later']]);
  for (const [name, tensor] of before.tensors) {
    if (!name.endsWith('module_logits')) { assert.deepEqual([started.tensors.get(name), other.tensors.get(name)], [tensor, tensor], name); continue; }
    const [old, longer, again] = [tensor, started.tensors.get(name)!, other.tensors.get(name)!].map(floats), width = tensor.shape[1];
    assert.deepEqual(longer.subarray(0, old.length), old);
    const row = longer.subarray(old.length);
    assert.ok(row.length === width && row.every((v) => v !== 0 && Math.abs(v) <= 1e-3), `${row}`);
    assert.deepEqual([again.subarray(0, width), again.subarray(2 * width)], [old.subarray(0, width), old.subarray(2 * width)], 'a task it knows begins anew, the others stay');
    assert.ok(again.subarray(width, 2 * width).every((v, i) => Math.abs(v) <= 1e-3 && v !== old[width + i]));
  }
  const few = jsonLines(at('fresh.jsonl'), rows.filter((r) => r.task === 'b').map((r) => ({ ...r, task: 'fresh' })));
  must(['train', '-m', model, '-g', at('new.safetensors'), '-d', few, '--only', 'poly_router', '--steps', '2', '-o', at('z.safetensors')]);
  const trained = await readGraft(at('z.safetensors'));
  for (const [name, t] of started.tensors) {
    const kept = name.endsWith('module_logits') ? 3 * t.shape[1] * 4 : t.data.length, now = trained.tensors.get(name)!.data;
    assert.ok(Buffer.from(now.slice(0, kept)).equals(t.data.slice(0, kept)) && Buffer.from(now).equals(t.data) === (kept === t.data.length), name);
  }
});

test('what routed grafts cannot do is said', () => {
  const start = at('poly.safetensors'), bare = jsonLines(at('bare.jsonl'), rows.map(({ task: _, ...r }) => r));
  assert.deepEqual(failure(['train', '-m', model, '-g', start, '-d', bare, '--steps', '1', '-o', '/dev/null']), [65, 'graft train: poly: the data has no column task, which says the task of each row\n']);
  assert.deepEqual(failure(train(start, '--only', 'nothing', '-o', '/dev/null')), [64, 'graft train: --only nothing: no trained tensor of the graft has that in its name\n']);
  assert.match(failure(['merge', '-m', model, '-g', start, '-o', at('m')])[1], /cannot be merged: it depends on the task of each row/);
  assert.match(failure(['merge', '-g', start, '--task', 'a', '--average', '-o', at('m')])[1], /--task and --average exclude each other/);
  assert.match(failure(['merge', model, model, '--average', '-o', at('m')])[1], /--average is for routed grafts, not for checkpoints/);
  assert.match(failure(['merge', '-g', start, '--new-task', 'a', '--average', '-o', at('m')])[1], /--average and --new-task exclude each other/);
  assert.match(failure(['merge', model, model, '--new-task', 'a', '-o', at('m')])[1], /--new-task is for routed grafts, not for checkpoints/);
  assert.match(failure(['merge', '-g', start, '-g', start, '-o', at('m')])[1], /poly grafts cannot be added up/);
  assert.deepEqual(failure(['merge', '-g', fresh('lora'), '--new-task', 'a', '-o', at('m')]), [64, 'graft merge: --new-task is for poly grafts; this one is lora\n']);
});
