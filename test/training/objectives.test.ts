import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../models/golden.js';
import { graft, jsonLines, must, scratch, tinyBert, tinyRows } from '../support/tiny.js';

const folder = scratch();
const bert = tinyBert(folder);

/** Trains a new LoRA and gives its metric on the training rows, before and after. */
function improves(model: string, task: string[], rows: object[], metric: string, more: string[]): [number, number] {
  const data = jsonLines(join(folder, `${task[0]}.jsonl`), rows), start = join(folder, `${task[0]}.start`), end = join(folder, `${task[0]}.end`);
  must(['init-adapter', '-m', model, '--method', 'lora', '--target-modules', 'all-linear', '--task', ...task, '-o', start]);
  must(['train', '-m', model, '-g', start, '-d', data, '--batch-size', '16', '--lr', '1e-2', ...more, '-o', end]);
  const value = (g: string): number => JSON.parse(must(['eval', '-m', model, '-g', g, '-d', data, '--metrics', metric]).toString()).value;
  return [value(start), value(end)];
}

test('tag learns which words begin a span', () => {
  const rows = tinyRows(96, 1).map(({ text }) => ({ tokens: text.split(' '), tags: text.split(' ').map((w) => (Number(w.slice(1)) % 3 === 0 ? 'B-X' : 'O')) }));
  const [before, after] = improves(bert, ['tag', '--labels', 'O,B-X'], rows, 'span-f1', ['--epochs', '10']);
  assert.ok(after > before + 0.2 && after > 0.8, `${before} → ${after}`);
});

test('mlm learns that words repeat', () => {
  const rows = tinyRows(96, 2).map(({ text }) => ({ text: `${text.split(' ')[0]} `.repeat(8).trim() }));
  const [before, after] = improves(bert, ['mlm'], rows, 'token-nll', ['--epochs', '10']);
  assert.ok(after < before - 0.2, `${before} → ${after}`);
});

test('clm learns to answer, scored on the responses', () => {
  const model = join(folder, 'gpt2');
  const words = join(ROOT, 'test/golden/tokenizers/gpt2');
  const config = jsonLines(join(folder, 'gpt2.json'), [{ architectures: ['GPT2LMHeadModel'], model_type: 'gpt2', n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64, n_inner: null, activation_function: 'gelu_new', layer_norm_epsilon: 1e-5, vocab_size: 1000, initializer_range: 0.3 }]);
  must(['init-model', '-c', config, '-o', model, join(words, 'tokenizer.json')]);
  if (existsSync(join(words, 'tokenizer_config.json'))) cpSync(join(words, 'tokenizer_config.json'), join(model, 'tokenizer_config.json'));
  const rows = Array.from({ length: 64 }, (_, i) => ({ prompt: `the cat ${i % 2 ? 'sat' : 'ran'}:`, response: i % 2 ? ' yes' : ' no' }));
  const [before, after] = improves(model, ['clm'], rows, 'token-nll', ['--epochs', '10', '--max-length', '32']);
  assert.ok(after < before / 2, `${before} → ${after}`);
});

test('train refuses what cannot be, in one line', () => {
  const data = jsonLines(join(folder, 'some.jsonl'), tinyRows(8, 3)), start = join(folder, 'tag.start');
  const cases: [string[], number, RegExp][] = [
    [['--resume'], 64, /--resume needs --checkpoint/],
    [['--early-stopping', '2'], 64, /--early-stopping needs validation data/],
    [['--objective', 'classify'], 64, /objective classify trains a head for classify; the graft's is for tag/],
    [[], 65, /no column 'tokens'/],
    [['--lr', 'much'], 64, /--lr takes a number/],
  ];
  for (const [more, status, said] of cases) {
    const r = graft(['train', '-m', bert, '-g', start, '-d', data, ...more, '-o', '/dev/null']);
    assert.equal(r.status, status, r.stderr);
    assert.match(r.stderr, said);
    assert.equal(r.stderr.trim().split('\n').length, 1);
  }
});

test('what does not change the result is not in the history', () => {
  const data = jsonLines(join(folder, 'some.jsonl'), tinyRows(16, 3)), start = join(folder, 'c.start');
  must(['init-adapter', '-m', bert, '--method', 'linear', '--task', 'classify', '--labels', 'no,yes', '-o', start]);
  const args = ['train', '-m', bert, '-g', start, '-d', data, '--steps', '2'];
  const plain = must(args);
  const out = join(folder, 'c.end');
  must([...args, '-o', out, '--checkpoint', join(folder, 'c'), '--checkpoint-every=1', '--resume', '--log', join(folder, 'c.log'), '-q', '--progress', 'none']);
  assert.deepEqual(readFileSync(out), plain);
});
