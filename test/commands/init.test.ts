import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { readSafetensors } from '../../src/formats/safetensors.js';
import { graft, jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';

const folder = scratch();
let model = '';
let data = '';

before(() => {
  model = tinyBert(folder);
  data = jsonLines(join(folder, 'train.jsonl'), tinyRows(120, 1));
});

const description = (bytes: Buffer): { config: Record<string, unknown>; history: string[]; head: unknown } => JSON.parse(readSafetensors(bytes).metadata.graft);

test('the same seed gives the same bytes, another seed others; nothing is printed beside the graft', () => {
  const make = (seed: string): ReturnType<typeof graft> => graft(['init-adapter', '-m', model, '--task', 'classify', '--labels-from', data, '--seed', seed]);
  const one = make('1');
  assert.equal(one.status, 0);
  assert.equal(one.stderr, '');
  assert.deepEqual(one.stdout, make('1').stdout);
  const tensors = (r: Buffer): Buffer => Buffer.from(readSafetensors(r).tensors.get('encoder.layer.0.attention.self.query.lora_A.weight')!.data);
  assert.ok(!tensors(one.stdout).equals(tensors(make('2').stdout)));
  assert.deepEqual(description(one.stdout).head, { task: 'classify', labels: ['0', '1'] });
});

test('classes come from a column of another name with --columns', () => {
  const path = jsonLines(join(folder, 'named.jsonl'), [{ text: 'a', kind: 'no' }, { text: 'b', kind: 'yes' }]);
  const args = ['init-adapter', '-m', model, '--task', 'classify', '--labels-from', path];
  assert.deepEqual(description(must([...args, '--columns', 'label=kind'])).head, { task: 'classify', labels: ['no', 'yes'] });
  const wrong = graft(args);
  assert.equal(wrong.status, 65);
  assert.match(wrong.stderr, /named\.jsonl: has no column 'label'; it has text, kind \(--columns label=NAME renames one\)/);
});

test('--check-identity tells a start that leaves the model alone from one that does not', () => {
  assert.equal(graft(['init-adapter', '-m', model, '--method', 'bottleneck', '--preset', 'parallel', '--check-identity']).status, 0);
  const prefix = graft(['init-adapter', '-m', model, '--method', 'prefix', '--check-identity']);
  assert.equal(prefix.status, 1);
  assert.match(prefix.stderr, /not the identity/);
  assert.equal(prefix.stdout.length, 0);
});

test('what does not suit the model is said in one line', () => {
  const fails: [string[], number, RegExp][] = [
    [['--target-modules', 'q_proj'], 64, /q_proj: no module of this bert matches; it has self\.query/],
    [['--method', 'linear'], 64, /--task is missing/],
    [['--method', 'nothing'], 64, /unknown method 'nothing'/],
    [['--task', 'classify'], 64, /--labels/],
    [['--task', 'classify', '--labels', 'a,a'], 64, /twice/],
    [['--task', 'classify', '--labels-from', join(folder, 'absent')], 66, /absent/],
    [['--method', 'bottleneck', '--width', '4', '--reduction-factor', '2'], 64, /exclude each other/],
    [['--rank-pattern', 'query'], 64, /MODULE=NUMBER/],
  ];
  for (const [args, status, message] of fails) {
    const ran = graft(['init-adapter', '-m', model, ...args]);
    assert.equal(ran.status, status, args.join(' '));
    assert.match(ran.stderr, message);
    assert.equal(ran.stderr.trim().split('\n').length, 1);
  }
});

test('svd-init is a filter: a graft in, a graft with its start and history out', () => {
  const start = must(['init-adapter', '-m', model, '--task', 'classify', '--labels', '0,1', '--rank', '3']);
  const eva = must(['svd-init', '-m', model, '--method', 'eva', '-d', data, '--rho', '1'], start);
  assert.deepEqual(description(eva).history.map((h) => h.split(' ')[1]), ['init-adapter', 'svd-init']);
  const pissa = description(must(['svd-init', '-m', model, '--method', 'pissa'], start));
  assert.equal(pissa.config.residual, true);
  const missing = graft(['svd-init', '-m', model, '--method', 'eva'], start);
  assert.equal(missing.status, 64);
  assert.match(missing.stderr, /--data is missing/);
  const other = must(['init-adapter', '-m', model, '--method', 'bitfit']);
  assert.equal(graft(['svd-init', '-m', model, '--method', 'pissa'], other).status, 64);
});

test('methods lists every method with its paper', () => {
  const rows = must(['methods', '--json']).toString().trim().split('\n').map((l) => JSON.parse(l) as { name: string; command: string; paper: unknown });
  for (const name of ['lora', 'bottleneck', 'prefix', 'prompt', 'bitfit', 'pissa', 'eva', 'tent', 'ties']) assert.ok(rows.some((r) => r.name === name && r.paper), name);
  assert.match(must(['methods']).toString(), /Hu et al\. \(2021\)/);
});

test('methods NAME tells one method: summary, options, paper, recipes; a name two commands share is told for both', () => {
  const lora = must(['methods', 'lora']).toString();
  assert.match(lora, /graft init-adapter --method lora\n {2}low-rank/);
  assert.match(lora, /-r, --rank N\n\s+rank r \(default 8\)/);
  assert.match(lora, /Paper:\n {2}Hu et al\. \(2021\)/);
  assert.match(must(['methods', 'tent']).toString(), /Recipes?:\n(?: {2}make .*\n)* {2}make -f fixtures\/recipes\/tta-cifar\.mk/);
  const linear = must(['methods', 'linear', '--json']).toString().trim().split('\n').map((l) => JSON.parse(l) as { command: string });
  assert.deepEqual(linear.map((m) => m.command), ['init-adapter', 'merge']);
  for (const [args, message] of [[['nope'], /unknown method 'nope': one of/], [['lora', 'tent'], /takes one name/]] as const) {
    const ran = graft(['methods', ...args]);
    assert.equal(ran.status, 64);
    assert.match(ran.stderr, message);
  }
});

test('lists of numbers take commas as well as repetition', () => {
  const ranks = (...args: string[]): unknown => description(must(['init-adapter', '-m', model, '--method', 'flora', ...args])).config.ranks;
  assert.deepEqual(ranks('--ranks', '4,3,2,2'), [4, 3, 2, 2]);
  assert.deepEqual(ranks('--ranks', '4', '--ranks', '3'), [4, 3]);
  assert.match(graft(['init-adapter', '-m', model, '--method', 'flora', '--ranks', '4,x']).stderr, /--ranks takes a number, not 'x'/);
});

test('merge --prune makes a graft with a mask, or says what is missing', () => {
  const made = must(['init-adapter', '-m', model, '--method', 'dsee', '--rank', '2', '--sparse', '4']);
  const pruned = must(['merge', '-m', model, '-g', '-', '--prune', 'w', '--ratio', '.5'], made);
  assert.ok((description(pruned).config.masked as string[]).length > 0);
  assert.equal(description(pruned).history.length, 2);
  const fails = (args: string[], expected: RegExp): void => assert.match(graft(['merge', '-g', '-', ...args], made).stderr, expected);
  fails(['--prune', 'w'], /--prune takes one --graft and its --model/);
  fails(['-m', model, '--heads', '1'], /--heads belongs to --prune/);
});
