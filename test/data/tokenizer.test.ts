import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Tokenizer } from '../../src/data/tokenizer.js';
import { readGolden, ROOT } from '../models/golden.js';

const FOLDER = join(ROOT, 'test/golden/tokenizers');

interface Expected {
  pad: number;
  mask: number | null;
  texts: { text: string; ids: number[] }[];
  pairs: { text: string; pair: string; limit: number; ids: number[]; types: number[] }[];
  words: { words: string[]; ids: number[]; starts: number[] }[];
}

for (const kind of ['wordpiece', 'gpt2', 'roberta', 'unigram', 'llama']) {
  test(`${kind}: texts, truncated pairs and words as the Python tokenizers cut them`, () => {
    const tokenizer = new Tokenizer(join(FOLDER, kind), 512);
    const expected = JSON.parse(readFileSync(join(FOLDER, `${kind}.json`), 'utf8')) as Expected;
    assert.equal(tokenizer.padId, expected.pad);
    assert.equal(tokenizer.maskId ?? null, expected.mask);
    assert.equal(tokenizer.maxLength, 40);
    for (const { text, ids } of expected.texts) assert.deepEqual(tokenizer.encode(text, null, 100).ids, ids, text);
    for (const { text, pair, limit, ids, types } of expected.pairs) assert.deepEqual(tokenizer.encode(text, pair, limit), { ids, types }, `${text} | ${pair} at ${limit}`);
    for (const { words, ids, starts } of expected.words) {
      const got = tokenizer.encodeWords(words, 100);
      assert.deepEqual([got.ids, got.starts], [ids, starts], words.join(' '));
      const cut = tokenizer.encodeWords(words, 6);
      assert.equal(cut.ids.length, cut.starts.length);
      assert.ok(cut.ids.length <= 6);
    }
  });
}

test('MiniLM: ids of real texts', (t) => {
  const folder = process.env.GRAFT_MINILM;
  if (!folder || !existsSync(folder)) return t.skip('GRAFT_MINILM names no folder with the MiniLM checkpoint');
  const { texts, ids } = readGolden<{ texts: string[]; ids: number[][] }>('minilm');
  const tokenizer = new Tokenizer(folder, 512);
  assert.deepEqual(texts.map((text) => tokenizer.encode(text).ids), ids);
});
