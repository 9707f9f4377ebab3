import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { graft, jsonLines, must, scratch } from '../support/tiny.js';
import { arrow } from '../tta/support.js';

test('a table as JSON lines and back', () => {
  const path = jsonLines(join(scratch(), 'x.jsonl'), [{ text: 'a "b"\n', label: 1, tags: [1, 2], p: 0.5, deep: { on: true } }, { text: null, label: -2, tags: [], p: 1.25, deep: { on: false } }]);
  assert.equal(must(['convert', '--to', 'jsonl'], must(['convert', '--to', 'arrow', path])).toString(), readFileSync(path, 'utf8'));
});

test('bytes come as base64, lists of floats as lists', async () => {
  const [row] = must(['convert', '--to', 'jsonl'], await arrow([{ image: Uint8Array.of(0, 255, 7), label: 1, domain: 'fog' } as never])).toString().trim().split('\n').map((l) => JSON.parse(l));
  assert.equal(row.image, 'AP8H');
  assert.equal(row.domain, 'fog');
});

test('a float type is for weights', () => {
  const r = graft(['convert', '--to', 'jsonl', '--dtype', 'bf16', jsonLines(join(scratch(), 'x.jsonl'), [{ a: 1 }])]);
  assert.equal(r.status, 64);
  assert.match(r.stderr, /--dtype is for weights, not for tables/);
});
