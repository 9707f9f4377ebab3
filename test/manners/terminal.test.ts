import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';
import { GRAFT, graftRun, onTerminal, shell } from './cases.js';

const folder = scratch();
const at = (name: string): string => join(folder, name);
const model = tinyBert(folder);
jsonLines(at('train.jsonl'), tinyRows(200, 1));
must(['init-adapter', '-m', model, '--task', 'classify', '--labels', 'no,yes', '-o', at('start')]);
const train = (...more: string[]): string => shell([process.execPath, GRAFT, 'train', '-m', model, '-g', at('start'), '-d', at('train.jsonl'), '-o', at('out'), ...more]);
const evaluate = (...more: string[]): string => shell([process.execPath, GRAFT, 'eval', '-m', model, '-g', at('start'), '-d', at('train.jsonl'), '--batch-size', '2', '-o', at('metrics'), ...more]);

test('a bar on a terminal, with rate, remaining time and loss, that goes away; no colours', async () => {
  const { status, stdout } = await onTerminal(train('--steps', '60'), { NO_COLOR: '1' });
  const shown = stdout.toString();
  assert.equal(status, 0, shown);
  assert.match(shown, /train [█░]{24} \d+\/60 [\d.]+ steps\/s \w+ left loss \d\.\d{4}/);
  assert.ok(shown.lastIndexOf('\x1b[?25h') > shown.lastIndexOf('\x1b[?25l'), 'the cursor is back');
  assert.doesNotMatch(shown, /\x1b\[[\d;]*m/);
  assert.match((await onTerminal(evaluate())).stdout.toString(), /eval \d+ rows [\d.]+ rows\/s/);
});

test('--quiet and --progress none show nothing; a dumb terminal gets lines', async () => {
  assert.equal((await onTerminal(train('--steps', '20', '--quiet'))).stdout.toString(), '');
  assert.equal((await onTerminal(train('--steps', '20', '--progress', 'none'))).stdout.toString(), '');
  assert.match((await onTerminal(train('--steps', '20', '--progress', 'log'), { TERM: 'dumb' })).stdout.toString(), /^train: 20\/20 steps, [\d.]+\/s, 0s left, loss [\d.]+\r\n$/);
});

test('away from a terminal progress is lines on standard error alone, and a short run has none', async () => {
  const line = ['eval', '-m', model, '-g', at('start'), '-d', at('train.jsonl')];
  const told = await graftRun([...line, '--progress', 'log']);
  assert.match(told.stderr, /^eval: 200 rows, [\d.]+\/s, \d+s\n$/);
  const silent = await graftRun(line);
  assert.deepEqual([silent.stderr, silent.stdout.toString()], ['', told.stdout.toString()]);
});

test('a signal under the bar gives the cursor back, and the last line is the reason', async () => {
  const { status, stdout } = await onTerminal(`${train('--steps', '1000000', '--log', at('log'))} & p=$!; until [ -f ${at('log')} ] && [ "$(wc -l < ${at('log')})" -ge 3 ]; do sleep .05; done; kill -TERM $p; wait $p`);
  assert.equal(status, 143, stdout.toString());
  assert.match(stdout.toString(), /\x1b\[\?25h[\s\S]*graft train: stopped by SIGTERM after step \d+\r\n$/);
});
