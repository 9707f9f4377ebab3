import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
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

test('--names puts the names of classes and tags in place of their numbers, for JSON lines alone', () => {
  const path = join(scratch(), 'x.csv');
  writeFileSync(path, 'text,label\na,no\nb,yes\nc,\n');
  const table = must(['data', 'import', path]);
  const lines = (...more: string[]): string => must(['convert', '--to', 'jsonl', ...more], table).toString();
  assert.equal(lines(), '{"text":"a","label":0}\n{"text":"b","label":1}\n{"text":"c","label":null}\n');
  assert.equal(lines('--names'), '{"text":"a","label":"no"}\n{"text":"b","label":"yes"}\n{"text":"c","label":null}\n');
  const tagged = must(['data', 'make', 'roles', '-n', '1', '--seed', '1']);
  const [row] = must(['convert', '--to', 'jsonl', '--names'], tagged).toString().trim().split('\n').map((l) => JSON.parse(l));
  assert.equal(row.tags.length, row.tokens.length);
  assert.ok(row.tags.every((t: unknown) => typeof t === 'string'), row.tags.join());
  const r = graft(['convert', '--to', 'arrow', '--names', path]);
  assert.equal(r.status, 64);
  assert.match(r.stderr, /--names is for --to jsonl/);
});
