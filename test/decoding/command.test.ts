import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tableFromIPC } from 'apache-arrow';
import { graft, jsonLines, must, scratch, tinyBert, tinyDecoder, tinyRows } from '../support/tiny.js';

const folder = scratch();
let model = '', prompts = '';
before(() => {
  model = tinyDecoder(folder);
  prompts = jsonLines(join(folder, 'prompts.jsonl'), tinyRows(7, 1).map(({ text }, i) => ({ id: i, prompt: text, response: 'old' })));
});

type Row = { id: number; response: string; sample: number; score: number; tokens: number; finish: string };
const rows = (bytes: Buffer): Row[] => tableFromIPC(bytes).toArray().map((r) => ({ ...r.toJSON(), id: Number(r.id) }) as Row);
const generated = (...args: string[]): Row[] => rows(must(['generate', '-m', model, '-d', prompts, '--max-new', '6', ...args]));

test('every prompt keeps its columns and gets a response, whatever the batch size', () => {
  const all = generated();
  assert.deepEqual(all.map((r) => r.id), [0, 1, 2, 3, 4, 5, 6]);
  assert.ok(all.every((r) => r.response !== 'old' && r.tokens >= 1 && r.tokens <= 6 && r.score < 0 && ['end', 'length'].includes(r.finish)));
  assert.ok(all.some((r) => r.response.split(' ').length > 1));
  const told = (rs: Row[]): unknown[] => rs.map(({ id, response, sample, tokens }) => ({ id, response, sample, tokens }));
  assert.deepEqual(told(generated('--batch-size', '1')), told(all));
  const drawn = generated('--method', 'sample', '--samples', '3');
  assert.deepEqual(told(generated('--method', 'sample', '--samples', '3', '--batch-size', '2')), told(drawn));
  assert.deepEqual(drawn.slice(0, 6).map((r) => [r.id, r.sample]), [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
  assert.ok(new Set(drawn.slice(0, 3).map((r) => r.response)).size > 1);
});

test('the same seed gives the same bytes, another seed others', () => {
  const run = (seed: string): Buffer => must(['generate', '-m', model, '-d', prompts, '--method', 'sample', '--max-new', '6', '--seed', seed]);
  assert.deepEqual(run('4'), run('4'));
  assert.notDeepEqual(run('4'), run('5'));
});

test('beams give several texts of a prompt, best first', () => {
  const all = generated('--method', 'beam', '--beams', '3', '--samples', '2');
  assert.equal(all.length, 14);
  for (let i = 0; i < 14; i += 2) assert.ok(all[i].score >= all[i + 1].score);
});

test('a response ends before a stop string', () => {
  const plain = generated(), word = plain.map((r) => r.response.trim().split(' ')).find((w) => w.length > 2)![1];
  const stopped = generated('--stop', word);
  assert.ok(stopped.some((r) => r.finish === 'stop'));
  stopped.forEach((r, i) => {
    assert.ok(!r.response.includes(word));
    assert.ok(plain[i].response.startsWith(r.response));
  });
});

test('the log counts passes and tokens', () => {
  const log = join(folder, 'log.jsonl');
  must(['generate', '-m', model, '-d', prompts, '--max-new', '3', '--min-new', '3', '--log', log, '-o', '/dev/null']);
  const tokens = tinyRows(7, 1).reduce((n, { text }) => n + text.split(' ').length, 0);
  assert.deepEqual(readFileSync(log, 'utf8').trim().split('\n').map((l) => JSON.parse(l)), [{ event: 'batch', prompts: 7, passes: 3, tokens: tokens + 2 * 7, generated: 21 }]);
});

const refusals: [string, (f: string) => string[], number, RegExp][] = [
  ['no model', () => ['-d', prompts], 64, /--model is missing/],
  ['a model that is no language model', (f) => ['-m', tinyBert(f), '-d', prompts], 64, /no causal language model/],
  ['no prompt column', (f) => ['-m', model, '-d', jsonLines(join(f, 'x.jsonl'), [{ text: 'w1' }])], 65, /no column 'prompt'/],
  ['an empty prompt', (f) => ['-m', model, '-d', jsonLines(join(f, 'x.jsonl'), [{ prompt: 'w1' }, { prompt: '' }])], 65, /row 2: the prompt is empty/],
  ['an unknown method', () => ['-m', model, '-d', prompts, '--method', 'guess'], 64, /unknown method 'guess': one of greedy, sample, beam/],
  ['an end of text that is no token', (f) => {
    const copy = join(f, 'copy');
    cpSync(model, copy, { recursive: true });
    writeFileSync(join(copy, 'generation_config.json'), '{"eos_token_id": "x"}');
    return ['-m', copy, '-d', prompts];
  }, 65, /generation_config.json: eos_token_id is "x", no token/],
];

for (const [what, args, status, message] of refusals) {
  test(`refused: ${what}`, () => {
    const r = graft(['generate', ...args(scratch())]);
    assert.equal(r.status, status, r.stderr);
    assert.match(r.stderr, message);
    assert.equal(r.stderr.trim().split('\n').length, 1);
  });
}
