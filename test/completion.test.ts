import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { complete } from '../src/completion.js';
import { graft, jsonLines, must, scratch } from './support/tiny.js';

const folder = scratch();
const data = join(folder, 'rows.jsonl');

before(() => {
  jsonLines(data, [{ sentence: 'a', label: 1, source: 'x' }]);
  symlinkSync(fileURLToPath(new URL('../../bin/graft.js', import.meta.url)), join(folder, 'graft'));
  for (const shell of ['bash', 'zsh', 'fish']) writeFileSync(join(folder, shell), must(['completion', shell]));
});

const offered = async (...line: string[]): Promise<string[]> => (await complete(line)).candidates.map((c) => c.word);

test('commands, options, choices, methods with what they do', async () => {
  assert.deepEqual(await offered('init'), ['init-model', 'init-adapter']);
  assert.deepEqual(await offered('--v'), ['--version']);
  assert.deepEqual(await offered('help', 'tr'), ['train']);
  assert.deepEqual(await offered('train', '--op'), ['--optimizer']);
  assert.deepEqual(await offered('train', '--no-s'), ['--no-shuffle']);
  assert.deepEqual(await offered('train', '--optimizer', 's'), ['sgd']);
  assert.deepEqual(await offered('train', '--optimizer=s'), ['--optimizer=sgd']);
  const { candidates } = await complete(['init-adapter', '--method', 'lor']);
  assert.equal(candidates.length, 1);
  assert.match(candidates[0].describe, /low-rank/);
});

test('the options of a method once it is chosen, and only then', async () => {
  assert.deepEqual(await offered('init-adapter', '--method', 'lora', '--rs'), ['--rslora']);
  assert.deepEqual(await offered('init-adapter', '--method', 'linear', '--rs'), []);
  assert.deepEqual(await offered('data', 'cor'), ['corrupt']);
  assert.deepEqual(await offered('data', 'corrupt', '--kind', 'fog,sno'), ['fog,snow']);
});

test('columns of the data on the line, for the options that name columns', async () => {
  assert.deepEqual(await offered('eval', '-d', data, '--by', ''), ['sentence', 'label', 'source']);
  assert.deepEqual(await offered('eval', `--data=${data}`, '--by', 'l'), ['label']);
  assert.deepEqual(await offered('train', '-d', data, '--columns', 'te'), ['text=', 'text_pair=']);
  assert.deepEqual(await offered('train', '-d', data, '--columns', 'text=se'), ['text=sentence']);
  assert.deepEqual(await offered('train', '-d', data, '--columns', 'text=sentence,label=l'), ['text=sentence,label=label']);
  assert.deepEqual(await offered('data', 'select', data, '--keep', 'label,s'), ['label,sentence', 'label,source']);
  assert.deepEqual(await offered('eval', '-d', join(folder, 'absent'), '--by', ''), []);
});

test('paths where a file may stand; names where operands have some; nothing for free text', async () => {
  for (const line of [['eval', '-d', ''], ['inspect', ''], ['data', 'head', ''], ['train', '-o', 'x']]) assert.deepEqual(await complete(line), { candidates: [], files: true });
  assert.deepEqual(await offered('methods', 'ten'), ['tent']);
  assert.deepEqual(await complete(['train', '--lr', '']), { candidates: [], files: false });
  assert.deepEqual(await complete(['nonsense', '']), { candidates: [], files: false });
});

test('a shell that graft has no script for', () => {
  const ran = graft(['completion', 'tcsh']);
  assert.equal(ran.status, 64);
  assert.match(ran.stderr, /bash, zsh, fish/);
});

/** Runs a script in a shell that finds graft on its path; skips where the shell is not installed. */
function inShell(shell: string, title: string, script: () => string, check: (lines: string[]) => void): void {
  test(title, { skip: spawnSync(shell, ['--version']).error ? `${shell} is not installed` : false }, () => {
    const env = { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}`, HOME: folder };
    const { stdout, stderr, status } = spawnSync(shell, ['-c', script()], { cwd: folder, env, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    check(stdout.trim().split('\n').map((l) => l.trim()));
  });
}

inShell('bash', 'bash completes by the script, words broken at = included', () => `
  source ./bash
  try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _graft graft; echo "\${COMPREPLY[@]}"; }
  complete -p graft
  try graft tr
  try graft tta --method te
  try graft eval -d rows.jsonl --columns text = se
  try graft train --optimizer =`, (lines) => {
  assert.deepEqual(lines, ['complete -F _graft graft', 'train', 'tent', 'sentence', 'adamw sgd']);
});

inShell('zsh', 'zsh completes by the script', () => `
  compdef() { print "compdef $*" }
  compset() { : }
  _describe() { print -l -- "\${(@P)2}" }
  _files() { print files }
  source ./zsh
  words=(graft tr); CURRENT=2; _graft
  words=(graft eval -d rows.jsonl --columns text=se); CURRENT=6; _graft
  words=(graft inspect ''); CURRENT=3; _graft`, (lines) => {
  assert.deepEqual(lines, ['compdef _graft graft', 'train:train a graft', 'text=sentence:', 'files']);
});

inShell('fish', 'fish completes by the script', () => `
  source ./fish
  complete -C 'graft tr'
  complete -C 'graft eval -d rows.jsonl --by s'
  complete -C 'graft inspect row'`, (lines) => {
  assert.deepEqual(lines, ['train\ttrain a graft', 'sentence', 'source', 'rows.jsonl']);
});
