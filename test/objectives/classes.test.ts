import { tf, useBackend } from '@graft/kernels';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Tokenizer } from '../../src/data/tokenizer.js';
import { classIndex } from '../../src/formats/features.js';
import { ROOT } from '../models/golden.js';
import classify, { labelReader } from '../../src/objectives/classify.js';
import type { Preparation } from '../../src/objectives/objective.js';
import tag from '../../src/objectives/tag.js';

await useBackend('auto'); // tensors are made here, outside of tests

const CLASSES = ['a', 'b', 'c'];

function preparation(columns: string[], classWeights?: string, names: string[] | null = null): Preparation {
  const tokenizer = new Tokenizer(join(ROOT, 'test/golden/tokenizers/wordpiece'), 64);
  const table = { name: 'rows', columns, classNames: () => names, schema: { fields: [] } };
  return { runtime: { tokenizer, model: { input: 'text' }, head: { task: '', labels: CLASSES } }, table, maxLength: 64, options: { classWeights }, seed: 0 } as unknown as Preparation;
}

const LABELS = [0, 0, 0, 1];
const rows = LABELS.map((label, i) => ({ text: 'the cat', tokens: ['the', 'cat'], tags: [label, i % 2] }));
const logits = tf.tensor2d([[1, 2, 0], [0, -1, 3], [2, 2, 1], [0.5, 0, 4]]);
/** -log softmax(z)[y] of the rows above. */
const losses = LABELS.map((y, i) => { const z = [...logits.dataSync()].slice(3 * i, 3 * i + 3); return Math.log(z.reduce((s, v) => s + Math.exp(v), 0)) - z[y]; });

async function weighted(classWeights: string | undefined): Promise<{ mean: number; weights?: number[] }> {
  const p = preparation(['text', 'label'], classWeights);
  const examples = classify.arrange!(await classify.prepare(rows.map((r, i) => ({ text: r.text, label: LABELS[i] })), 0, p), p);
  const { targets } = classify.batch(examples, 0, p);
  return { mean: classify.loss(logits, targets, p.options).dataSync()[0] / targets.count, weights: targets.weights && [...targets.weights] };
}

test('class weights: Σ w_y l / Σ w_y, as PyTorch has the mean', async () => {
  const w = [0.5, 4, 7];
  const expected = losses.reduce((sum, l, i) => sum + w[LABELS[i]] * l, 0) / LABELS.reduce((sum, y) => sum + w[y], 0);
  const { mean } = await weighted(w.join());
  assert.ok(Math.abs(mean - expected) < 1e-6, `${mean}, not ${expected}`);
  assert.ok(Math.abs((await weighted(undefined)).mean - losses.reduce((a, b) => a + b) / 4) < 1e-6);
});

test('balanced: every class that occurs counts as much as any other', async () => {
  const { mean, weights } = await weighted('balanced');
  assert.deepEqual(weights, [4 / 6, 4 / 6, 4 / 6, 2].map(Math.fround));
  assert.ok(Math.abs(mean - ((losses[0] + losses[1] + losses[2]) / 3 + losses[3]) / 2) < 1e-6);
});

test('words of a tagger count by their tags, other positions not at all', async () => {
  const p = preparation(['tokens', 'tags'], '1,3,9');
  const examples = tag.arrange!(await tag.prepare(rows, 0, p), p);
  const { targets } = tag.batch(examples, 0, p);
  const scored = [...targets.labels].map((l, i) => [l, targets.weights![i]]).filter(([l]) => l >= 0);
  assert.deepEqual(scored, rows.flatMap((r) => r.tags.map((t) => [t, [1, 3, 9][t]])));
  assert.ok([...targets.labels].every((l, i) => l >= 0 || targets.weights![i] === 0));
  assert.equal(targets.count, scored.reduce((sum, [, w]) => sum + w, 0));
});

test('weights that are none, or not one a class, are refused', async () => {
  for (const given of ['1,2', '1,2,x', '1,2,', '1,-2,3', 'even']) await assert.rejects(weighted(given), new RegExp(`--class-weights ${given}: give 'balanced', or a number for each of the 3 classes`));
});

test('labels are matched by name where the data names some classes as the head does, by number otherwise', () => {
  const index = (names: string[] | null, ...values: unknown[]): number[] => values.map(classIndex(CLASSES, names));
  assert.deepEqual(index(['c', 'a'], 0, 1, 'b'), [2, 0, 1], 'another order, and a class that does not occur');
  assert.deepEqual(index(['a', 'b', 'd'], 0, 1, 2), [0, 1, -1], 'as many, but one of them unknown');
  assert.deepEqual(index(['x', 'y', 'z'], 0, 2), [0, 2], 'no name in common');
  assert.deepEqual(index(['x', 'y'], 0), [-1]);
  assert.deepEqual(index(null, 0, 2, 3, -1, 0.5, null), [0, 2, -1, -1, -1, -1]);
  assert.throws(() => labelReader(preparation([], undefined, ['a', 'b', 'd']))(2, 4), /rows: row 5: label "d" is none of the head's 3 classes \(a, b, c\)/);
});

test('a number without names is refused where the classes are called by other numbers than their own', () => {
  const read = labelReader({ ...preparation([]), runtime: { head: { labels: ['1', '2', '3'] } } } as never);
  assert.equal(read('2', 0), 1);
  assert.throws(() => read(2, 4), { status: 65, message: /row 5: label 2 may be the class called 2 or the one at 2 of 1, 2, 3: write names as text \("2"\)/ });
});
