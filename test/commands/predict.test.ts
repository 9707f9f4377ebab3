import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { graft, jsonLines, must, scratch, tinyBert, tinyDecoder, tinyRows } from '../support/tiny.js';

const folder = scratch(), at = (name: string): string => join(folder, name);
const rows = tinyRows(20, 3).map(({ text, label }) => ({ text, label: ['no', 'yes'][label], note: `of ${text}` }));
let model = '', decoder = '';

before(() => {
  model = tinyBert(folder);
  decoder = tinyDecoder(folder);
  must(['init-adapter', '-m', model, '--task', 'classify', '--labels', 'no,yes', '-o', at('classes')]);
  must(['init-adapter', '-m', model, '--task', 'tag', '--labels', 'O,B-X', '-o', at('tags')]);
});

const table = (bytes: Buffer): Record<string, unknown>[] => must(['convert', '--to', 'jsonl', '--names'], bytes).toString().trim().split('\n').map((l) => JSON.parse(l));
const predicted = (g: string, data: string, ...more: string[]): Buffer => must(['predict', '-m', model, '-g', at(g), '-d', data, '--batch-size', '8', ...more]);

test('texts without labels are predicted as with them, and what is kept goes along', () => {
  const labelled = jsonLines(at('labelled.jsonl'), rows), bare = jsonLines(at('bare.jsonl'), rows.map(({ text, note }) => ({ text, note })));
  must(['eval', '-m', model, '-g', at('classes'), '-d', labelled, '--batch-size', '8', '--predictions', at('measured.arrow')]);
  const measured = table(must(['convert', '--to', 'arrow', at('measured.arrow')])), blind = table(predicted('classes', bare, '--keep', 'note,text'));
  assert.deepEqual(Object.keys(blind[0]), ['text', 'note', 'logits', 'pred', 'batch']);
  assert.deepEqual(blind.map(({ logits, pred, batch }) => ({ logits, pred, batch })), measured.map(({ logits, pred, batch }) => ({ logits, pred, batch })));
  assert.deepEqual(blind.map((r) => r.note), rows.map((r) => r.note));
  assert.ok(blind.every((r) => r.pred === 'no' || r.pred === 'yes'));
});

test('labels that the data have go along, and eval measures them; one the head does not know is null', () => {
  const labelled = jsonLines(at('labelled.jsonl'), rows);
  assert.deepEqual(must(['eval'], predicted('classes', labelled)), must(['eval', '-m', model, '-g', at('classes'), '-d', labelled, '--batch-size', '8']));
  const some = jsonLines(at('some.jsonl'), [{ text: 'a', label: 'yes' }, { text: 'b', label: null }, { text: 'c', label: 'other' }]);
  assert.deepEqual(table(predicted('classes', some)).map((r) => r.label), ['yes', null, null]);
  const unlabelled = graft(['eval'], predicted('classes', some));
  assert.equal(unlabelled.status, 65);
  assert.match(unlabelled.stderr, /row 2: label null is not a class 0 to 1/);
});

test('words are tagged without tags', () => {
  const words = rows.map(({ text }) => text.split(' ')), tagged = table(predicted('tags', jsonLines(at('words.jsonl'), words.map((tokens) => ({ tokens })))));
  assert.deepEqual(Object.keys(tagged[0]), ['pred_tags']);
  assert.deepEqual(tagged.map((r) => (r.pred_tags as string[]).length), words.map((w) => w.length));
  const known = predicted('tags', jsonLines(at('tagged.jsonl'), words.map((tokens) => ({ tokens, tags: tokens.map(() => 'O') }))));
  assert.deepEqual(table(known).map((r) => r.pred_tags), tagged.map((r) => r.pred_tags));
  assert.match(must(['eval', '--metrics', 'tag-accuracy'], known).toString(), /"metric":"tag-accuracy"/);
});

test('what cannot be predicted is said in one line', () => {
  const data = jsonLines(at('bare.jsonl'), rows.map(({ text, note }) => ({ text, note }))), classes = ['-m', model, '-g', at('classes')];
  const fails: [string[], number, RegExp][] = [
    [['-d', data], 64, /--model is missing/],
    [['-m', model, '-d', data], 64, /has no task head/],
    [['-m', decoder, '-d', data], 64, /its head does 'clm'; predict is for classify, tag and segment \(graft generate/],
    [[...classes, '-d', data, '--columns', 'x=text'], 65, /has no column 'text'; it has x, note/],
    [[...classes, '-d', data, '--keep', 'nothing'], 65, /has no column 'nothing'/],
    [[...classes, '-d', data, '--columns', 'pred=note', '--keep', 'pred'], 64, /--keep pred: predictions have a column of this name/],
    [[...classes, '-d', jsonLines(at('hole.jsonl'), [{ text: 'a' }, { text: null }])], 65, /hole\.jsonl: row 2: text is missing/],
  ];
  for (const [args, status, message] of fails) {
    const r = graft(['predict', ...args]);
    assert.equal(r.status, status, r.stderr);
    assert.match(r.stderr, message);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
    assert.equal(r.stdout.length, 0);
  }
});
