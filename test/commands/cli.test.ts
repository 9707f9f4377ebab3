import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCompute } from '../../src/compute.js';
import { graft } from '../support/tiny.js';

const CASES: [string, string[], number, RegExp][] = [
  ['no command', [], 64, /no command given/],
  ['an unknown command', ['frobnicate'], 64, /there is no command 'frobnicate'/],
  ['an unknown option', ['eval', '--frob'], 64, /Unknown.*frob/],
  ['an option without its value', ['init-adapter', '-m', '--method', 'lora'], 64, /following: m/],
  ['a number that is none', ['eval', '--batch-size', 'ten'], 64, /--batch-size takes a number, not 'ten'/],
  ['a number out of range', ['eval', '--batch-size', '0'], 64, /--batch-size 0 is out of range/],
  ['a choice that is none', ['eval', '--backend', 'abacus'], 64, /abacus/],
  ['a method that is none', ['init-adapter', '-m', 'x', '--method', 'nope'], 64, /unknown method 'nope': one of/],
  ['a method of another command', ['init-adapter', '-m', 'x', '--method', 'pissa'], 64, /unknown method 'pissa': one of .*; there is graft svd-init --method pissa$/m],
  ['a method that is none, though objects have one of the name', ['tta', '-m', 'x', '--method', 'constructor'], 64, /unknown method 'constructor': one of/],
  ['a picture that is none', ['plot', 'toString', 'x'], 64, /unknown picture 'toString': one of curves/],
  ['an operand too many', ['eval', 'x'], 64, /unexpected operand 'x'/],
  ['a file that is not there', ['eval', '-d', '/nowhere/at/all.arrow'], 66, /nowhere\/at\/all.arrow/],
  ['a model that is not there', ['init-adapter', '-m', '/nowhere/model', '-o', '/dev/null'], 66, /nowhere\/model/],
  ['an empty stream', ['eval'], 65, /empty/],
];

for (const [what, args, status, said] of CASES) {
  test(`${what}: one line, status ${status}`, () => {
    const r = graft(args, Buffer.alloc(0));
    assert.equal(r.status, status, r.stderr);
    assert.match(r.stderr, said);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
    assert.equal(r.stdout.length, 0);
  });
}

test('help shows a method\'s own options when it is chosen', () => {
  const help = graft(['init-adapter', '--method', 'lora', '--help']);
  assert.equal(help.status, 0);
  assert.match(help.stdout.toString(), /Options of lora:[\s\S]*--rank/);
  assert.doesNotMatch(graft(['init-adapter', '--method', 'linear', '--help']).stdout.toString(), /Options of|-r, --rank/);
});

test('a backend that is not here, or not in that precision, is an error in one line', async () => {
  await assert.rejects(startCompute({ backend: 'wasm', precision: 'bf16' } as never), { status: 1, message: "backend 'wasm' multiplies in f32 only: leave out --precision bf16" });
  await assert.rejects(startCompute({ backend: 'webgpu' } as never), { status: 1, message: /backend 'webgpu' needs the package webgpu/ });
});
