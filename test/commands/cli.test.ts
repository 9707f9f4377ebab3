import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandSummaries } from '../../src/commands/registry.js';
import { startCompute } from '../../src/compute.js';
import { graft, must } from '../support/tiny.js';

const said = (args: string[]): string => must(args).toString();

const CASES: [string, string[], number, RegExp][] = [
  ['no command', [], 64, /no command given/],
  ['an unknown command', ['frobnicate'], 64, /there is no command 'frobnicate'; graft --help lists them/],
  ['a command misspelt', ['trian'], 64, /there is no command 'trian'; did you mean train\?/],
  ['an unknown option', ['eval', '--frob'], 64, /unknown option --frob; graft eval --help lists them/],
  ['an option misspelt', ['eval', '--bacth-size', '3'], 64, /unknown option --bacth-size; did you mean --batch-size\?/],
  ["another method's option", ['init-adapter', '--method', 'bitfit', '--rank', '4'], 64, /--rank is an option of --method adalora, .*lora.*, not of bitfit/],
  ["another operation's option", ['data', 'shuffle', '--fraction', '.5'], 64, /--fraction is an option of graft data sample, split, not of shuffle/],
  ['an option without its value', ['init-adapter', '-m', '--method', 'lora'], 64, /-m needs a value/],
  ['an option that is needed', ['convert', 'x'], 64, /--to is missing: the format that comes out \(peft, kohya/],
  ['a number that is none', ['eval', '--batch-size', 'ten'], 64, /--batch-size takes a whole number, not 'ten'/],
  ['a number out of range', ['eval', '--batch-size', '0'], 64, /--batch-size 0 is out of range: at least 1/],
  ['a number between two bounds', ['eval', '--bootstrap', '-1'], 64, /--bootstrap -1 is out of range: 0 to 100000/],
  ['a count that is no whole number', ['init-adapter', '--rank', '2.5'], 64, /--rank takes a whole number, not '2.5'/],
  ['a choice that is none', ['eval', '--backend', 'abacus'], 64, /--backend abacus: one of auto, cpu, .*wasm/],
  ['a choice misspelt', ['train', '--optimizer', 'adam'], 64, /--optimizer adam: one of adamw, sgd; did you mean adamw\?/],
  ['a method that is none', ['init-adapter', '-m', 'x', '--method', 'nope'], 64, /unknown method 'nope': one of/],
  ['a method of another command', ['init-adapter', '-m', 'x', '--method', 'pissa'], 64, /unknown method 'pissa': one of .*; there is graft svd-init --method pissa$/m],
  ['a method that is none, though objects have one of the name', ['tta', '-m', 'x', '--method', 'constructor'], 64, /unknown method 'constructor': one of/],
  ['a picture that is none', ['plot', 'toString', 'x'], 64, /unknown picture 'toString': one of curves/],
  ['a method that is none, though help is asked for', ['tta', '--method', 'tnt', '--help'], 64, /unknown method 'tnt': .*; did you mean tent\?/],
  ['a kind of data that is none', ['data', 'make', 'topic'], 64, /graft data: unknown kind of data 'topic': one of shapes10.*; did you mean topics\?/],
  ['a kind of data left out', ['data', 'make'], 64, /graft data: make takes one of shapes10/],
  ['a picture of another format', ['plot', 'curves', 'x.jsonl', '-o', 'x.jpg'], 64, /--output x.jpg: pictures are SVG or PNG, not .jpg/],
  ['an operand too many', ['completion', 'bash', 'zsh'], 64, /completion takes one shell/],
  ['data as an operand', ['eval', 'x'], 64, /unexpected operand 'x'; data are given with --data/],
  ['a file that is not there', ['eval', '-d', '/nowhere/at/all.arrow'], 66, /nowhere\/at\/all.arrow/],
  ['a model that is not there', ['init-adapter', '-m', '/nowhere/model', '-o', '/dev/null'], 66, /nowhere\/model/],
  ['an empty stream', ['eval'], 65, /empty/],
];

for (const [what, args, status, message] of CASES) {
  test(`${what}: one line, status ${status}`, () => {
    const r = graft(args, Buffer.alloc(0));
    assert.equal(r.status, status, r.stderr);
    assert.match(r.stderr, message);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
    assert.equal(r.stdout.length, 0);
  });
}

test('help shows a method\'s own options when it is chosen, and the names of all', () => {
  const help = graft(['init-adapter', '--method', 'lora', '--help']);
  assert.equal(help.status, 0);
  assert.match(help.stdout.toString(), /Options of lora:\n {2}-r, --rank N +rank r \(default 8\)\n/);
  assert.match(help.stdout.toString(), /--method NAME .*: adalora, bitfit,/);
  assert.doesNotMatch(graft(['init-adapter', '--method', 'linear', '--help']).stdout.toString(), /Options of|-r, --rank/);
});

test('help of an operation is about it alone, however it is asked for', () => {
  const help = said(['data', 'split', '--help']);
  assert.match(help, /^Usage: graft data split \[OPTION\]\.\.\. FILE/);
  assert.match(help, /# train and test\n {2}graft data split/);
  assert.doesNotMatch(help, /graft data import/);
  assert.equal(said(['help', 'data', 'split']), help);
  assert.match(said(['data', '--help']), /OPERATION is one of\n {2}import +read other formats/);
});

test('no line of a help text is longer than 96 characters, but for examples', async () => {
  for (const [name] of commandSummaries()) {
    const [text] = said(['help', name]).split('\nExamples:');
    assert.deepEqual(text.split('\n').filter((l) => l.length > 96), [], name);
  }
});

test('an operation is found behind options with values', () => {
  const rows = Buffer.from('{"a":1}\n{"a":2}\n');
  const want = graft(['data', 'head', '-n', '1'], rows);
  assert.equal(want.status, 0, want.stderr);
  for (const args of [['data', '-n', '1', 'head'], ['data', '--seed', '3', 'head', '-n', '1'], ['data', '-o', '-', 'head', '-n', '1']]) {
    const got = graft(args, rows);
    assert.deepEqual([got.status, got.stderr], [0, '']);
    assert.deepEqual(got.stdout, want.stdout);
  }
});

test('a backend that is not here, or not in that precision, is an error in one line', async () => {
  await assert.rejects(startCompute({ backend: 'wasm', precision: 'bf16' } as never), { status: 1, message: "backend 'wasm' multiplies in f32 only: leave out --precision bf16" });
  await assert.rejects(startCompute({ backend: 'webgpu' } as never), { status: 1, message: /backend 'webgpu' needs the package webgpu/ });
});
