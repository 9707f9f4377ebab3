import { Rng, tf, useBackend, type Tensor3D } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Tokenizer } from '../../src/data/tokenizer.js';
import type { Row } from '../../src/formats/rows.js';
import { ROOT } from '../models/golden.js';
import clm, { borderOf } from '../../src/objectives/clm.js';
import mlm, { chooseTokens, chooseWords, mask } from '../../src/objectives/mlm.js';
import type { Preparation } from '../../src/objectives/objective.js';
import { IGNORED, type Spoken } from '../../src/objectives/scored.js';
import tag from '../../src/objectives/tag.js';
import classify from '../../src/objectives/classify.js';

before(() => useBackend('auto'));

const tokenizerOf = (kind: string): Tokenizer => new Tokenizer(join(ROOT, 'test/golden/tokenizers', kind), 512);

function preparation(kind: string, columns: string[], options: Record<string, unknown> = {}, labels?: string[]): Preparation {
  const tokenizer = tokenizerOf(kind);
  const table = { name: 'rows.jsonl', columns, classNames: () => null, schema: { fields: [] } };
  return { runtime: { tokenizer, vocabulary: 50, model: { input: 'text' }, head: { task: '', labels } }, table, maxLength: Number(options.maxLength ?? 64), options, seed: 5 } as unknown as Preparation;
}

const prepare = (rows: Row[], p: Preparation): Promise<Spoken[]> => clm.prepare(rows, 0, p);
const scored = (e: Spoken): number[] => [...e.labels].filter((l) => l !== IGNORED);

for (const kind of ['gpt2', 'llama', 'unigram']) {
  test(`${kind}: the scored tokens are the response and the end of text`, async () => {
    const p = preparation(kind, ['prompt', 'response']);
    const { tokenizer } = p.runtime;
    // A token that begins with the space before the response is the prompt's.
    const rows = [
      { prompt: 'what is it? ', response: 'the cat is on the mat.' }, { prompt: 'the dog and the cat:', response: ' the mat' }, { prompt: '', response: 'nothing was asked' },
      { prompt: 'señor 東京 ', response: 'naïve café' },
    ];
    for (const [i, e] of (await prepare(rows, p)).entries()) {
      const ids = scored(e), end = tokenizer.endId === undefined ? 0 : 1;
      const said = tokenizer.surface(end ? ids.slice(0, -1) : ids).replace(/^\ufffd/, '').trim();
      assert.ok(rows[i].response.endsWith(said) && said.length > rows[i].response.length / 2, `${JSON.stringify(rows[i])}: ${said}`);
      if (end) assert.equal(ids.at(-1), tokenizer.endId);
      assert.deepEqual([...e.labels].slice(-ids.length), ids, 'nothing else is scored');
    }
  });
}

test('a token across the border belongs to the prompt; pieces tokenised apart would say otherwise', () => {
  // Tokens `ab`, `cd`, `ef` of the text abcdef, whose prompt is abc.
  const pieces = ['ab', 'cd', 'ef'];
  const tokenizer = { surface: (ids: readonly number[]) => ids.map((i) => pieces[i]).join('') };
  assert.equal(borderOf(tokenizer, [0, 1, 2], 3), 2);
  assert.equal(borderOf(tokenizer, [0, 1, 2], 4), 2);
  assert.equal(borderOf(tokenizer, [0, 1, 2], 2), 1);
  assert.equal(borderOf(tokenizer, [0, 1, 2], 0), 0);
});

test('too long a prompt loses its beginning first; rows without a scored token are left out', async () => {
  const p = preparation('gpt2', ['prompt', 'response'], { maxLength: 8 });
  const [e] = await prepare([{ prompt: 'one two three four five six seven eight nine', response: ' ten' }], p);
  assert.equal(e.text.ids.length, 8);
  assert.ok(p.runtime.tokenizer.surface(scored(e)).endsWith('ten'), p.runtime.tokenizer.surface(scored(e)));
  const single = { ...e, labels: new Int32Array(8).fill(IGNORED) };
  assert.deepEqual(clm.arrange!([single, e], p), [e]);
});

test('a causal batch scores t + 1 at t, nowhere else', async () => {
  const p = preparation('gpt2', ['text']);
  const examples = await prepare([{ text: 'the cat sat on the mat' }, { text: 'the dog' }], p);
  const { inputs, targets } = clm.batch(examples, 0, p);
  const [, T] = (inputs as { ids: tf.Tensor2D }).ids.shape;
  const ids = examples.map((e) => e.text.ids);
  assert.deepEqual([...targets.labels], ids.flatMap((r) => r.slice(1)));
  assert.deepEqual([...targets.positions!], ids.flatMap((r, b) => r.slice(1).map((_, t) => b * T + t)));
  assert.equal(targets.count, ids.flat().length - 2);
  // With uniform logits every token costs ln V.
  const logits = tf.zeros([1, targets.count, 1000]) as Tensor3D;
  const rows = clm.outputs(logits, examples, targets, p) as { nll: number; tokens: number; bytes: number }[];
  rows.forEach((r, b) => assert.ok(Math.abs(r.nll - r.tokens * Math.log(1000)) < 1e-4 && r.tokens === ids[b].length - 1));
  assert.deepEqual(rows.map((r) => r.bytes), [22, 7]);
});

test('packing joins texts with the end of text and cuts equal blocks', async () => {
  const p = preparation('gpt2', ['text'], { pack: true, maxLength: 16 });
  const texts = Array.from({ length: 20 }, (_, i) => ({ text: `row ${i} says something of its own` }));
  const blocks = clm.arrange!(await prepare(texts, p), p);
  const stream = texts.flatMap((t) => [...p.runtime.tokenizer.encode(t.text, null, Infinity).ids, p.runtime.tokenizer.endId!]);
  assert.equal(blocks.length, Math.floor(stream.length / 16));
  assert.deepEqual(blocks.flatMap((b) => b.text.ids), stream.slice(0, blocks.length * 16));
  assert.equal(clm.batch(blocks.slice(0, 1), 0, p).targets.count, 15);
});

test('the Alpaca template, with and without an input', async () => {
  const p = preparation('gpt2', ['instruction', 'input', 'response'], { template: 'alpaca', maxLength: 500 });
  const [a, b] = await prepare([{ instruction: 'Add.', input: '1 2', response: '3' }, { instruction: 'Sing.', input: '', response: 'la' }], p);
  const text = (e: Spoken): string => p.runtime.tokenizer.surface(e.text.ids);
  assert.match(text(a), /paired with an input that provides further context\. Write a response that appropriately completes the request\.\n\n### Instruction:\nAdd\.\n\n### Input:\n1 2\n\n### Response:3/);
  assert.match(text(b), /describes a task\. Write a response .*\n\n### Instruction:\nSing\.\n\n### Response:la/);
});

test('masks: 15 % of the tokens, 80/10/10, never a special one', () => {
  const special = new Set([0, 1]);
  const ids = [0, ...Array.from({ length: 100 }, (_, i) => 2 + (i % 90)), 1];
  let chosen = 0, masked = 0, kept = 0;
  for (let row = 0; row < 2000; row++) {
    const rng = new Rng('test', row);
    const picked = chooseTokens(ids, 0.15, special, rng);
    const { text, labels } = mask({ ids, types: ids.map(() => 0) }, picked, 99, 1000, rng);
    assert.ok(!picked.has(0) && !picked.has(101));
    chosen += picked.size;
    labels.forEach((l, i) => {
      assert.equal(l, picked.has(i) ? ids[i] : IGNORED);
      if (l === IGNORED) assert.equal(text.ids[i], ids[i]);
      else if (text.ids[i] === 99) masked++;
      else if (text.ids[i] === l) kept++;
    });
  }
  assert.ok(Math.abs(chosen / 200000 - 0.15) < 0.003, `${chosen / 200000}`);
  assert.ok(Math.abs(masked / chosen - 0.8) < 0.01 && Math.abs(kept / chosen - 0.1) < 0.01, `${masked / chosen}, ${kept / chosen}`);
});

test('masks change with the epoch and not with the batch', async () => {
  const p = preparation('wordpiece', ['text'], { maskShare: 0.5 });
  const rows = await mlm.prepare([{ text: 'the cat sat on the mat and slept' }, { text: 'a dog ran after the other dog' }], 0, p);
  const labels = (examples: typeof rows, epoch: number): number[] => [...mlm.batch(examples, epoch, p).targets.labels];
  assert.deepEqual([...labels(rows.slice(0, 1), 0), ...labels(rows.slice(1), 0)], labels(rows, 0));
  assert.notDeepEqual(labels(rows, 1), labels(rows, 0));
});

test('whole words are masked together, up to the budget', () => {
  const words = [[0], [1, 2, 3], [4, 5], [6], [7, 8, 9]];
  for (let seed = 0; seed < 50; seed++) {
    const chosen = chooseWords(words, 0.4, new Rng(seed));
    assert.ok(chosen.size <= 4 && chosen.size > 0);
    for (const word of words) assert.ok(word.every((i) => chosen.has(i)) || word.every((i) => !chosen.has(i)));
  }
});

test('pieces that continue a word belong to it', () => {
  const wordpiece = tokenizerOf('wordpiece'), ids = wordpiece.encode('unbelievable cat').ids;
  const words = wordpiece.words(ids);
  assert.equal(words.length, 2);
  assert.equal(words.flat().length, ids.length - 2);
  const llama = tokenizerOf('llama');
  assert.equal(llama.words(llama.encode('unbelievable cat sat').ids).length, 3);
});

test('tags lie on the first piece of each word', async () => {
  const p = preparation('wordpiece', ['tokens', 'tags'], {}, ['O', 'B-X']);
  const examples = await tag.prepare([{ tokens: ['unbelievable', 'cat'], tags: [1, 0] }], 0, p);
  const { targets } = tag.batch(examples, 0, p);
  assert.equal(targets.count, 2);
  assert.equal(targets.labels[1], 1);
  assert.deepEqual([...targets.labels].filter((l) => l !== IGNORED), [1, 0]);
});

test('wrong rows are named', async () => {
  const p = preparation('wordpiece', ['text', 'label'], {}, ['no', 'yes']);
  await assert.rejects(async () => classify.prepare([{ text: 'a', label: 1 }, { text: 'b', label: 2 }], 10, p), /rows\.jsonl: row 12: label 2 is none of the head's 2 classes/);
  await assert.rejects(async () => classify.prepare([{ text: null, label: 1 }], 0, p), /row 1: text is missing/);
  await assert.rejects(async () => mlm.prepare([{ text: 7 }], 0, p), /row 1: text is 7, no text/);
  const t = preparation('wordpiece', ['tokens', 'tags'], {}, ['O', 'B-X']);
  await assert.rejects(async () => tag.prepare([{ tokens: ['a', 'b'], tags: [0] }], 3, t), /row 4: 2 tokens but 1 tags/);
});
