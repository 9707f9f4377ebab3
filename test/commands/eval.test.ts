import assert from 'node:assert/strict';
import { test } from 'node:test';
import { graft } from '../support/tiny.js';

const lines = (rows: readonly object[]): Buffer => Buffer.from(rows.map((r) => `${JSON.stringify(r)}\n`).join(''));

test('predictions made elsewhere are measured: JSON lines of logits and labels, no class names', () => {
  const r = graft(['eval', '--metrics', 'accuracy,confusion'], lines([{ logits: [2, 1, 0], label: 0 }, { logits: [0, 1, 5], label: 1 }]));
  assert.equal(r.status, 0, r.stderr);
  assert.deepEqual(r.stdout.toString().trim().split('\n').map((l) => JSON.parse(l).value), [0.5, [[1, 0, 0], [0, 0, 1], [0, 0, 0]]]);
});

test('rows of different width are refused', () => {
  const r = graft(['eval'], lines([{ logits: [2, 1, 0], label: 0 }, { logits: [0, 1], label: 1 }]));
  assert.equal(r.status, 65);
  assert.match(r.stderr, /row 2: has 2 logits where there are 3 classes/);
});

test('so are tags: their entity types are found as they come', () => {
  const r = graft(['eval', '--metrics', 'span-f1,span-macro-f1'], lines([{ pred_tags: ['B-LOC', 'O', 'B-PER'], tags: ['B-LOC', 'O', 'O'] }, { pred_tags: ['O'], tags: ['B-DATE'] }]));
  assert.equal(r.status, 0, r.stderr);
  assert.deepEqual(r.stdout.toString().trim().split('\n').map((l) => JSON.parse(l).value), [0.5, 1 / 3]);
});

test('rows of unknown classes (is_ood) have no label; the accuracy is that of the others', () => {
  const r = graft(['eval', '--metrics', 'accuracy,auroc'], lines([{ logits: [3, 0], label: 0, is_ood: false }, { logits: [0, 2], label: 0, is_ood: false }, { logits: [1, 1], label: null, is_ood: true }]));
  assert.equal(r.status, 0, r.stderr);
  assert.deepEqual(r.stdout.toString().trim().split('\n').map((l) => JSON.parse(l)), [{ metric: 'accuracy', value: 0.5, n: 2 }, { metric: 'auroc', value: 1, n: 3 }]);
});
