import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseMetrics } from '../../src/metrics/registry.js';
import { Meter } from '../../src/metrics/meter.js';
import type { Prediction } from '../../src/metrics/metric.js';
import { spans } from '../../src/metrics/spans.js';

const measure = (names: string[], rows: Prediction[], labels: string[], replicates = 0) => {
  const meter = new Meter(chooseMetrics(names, rows[0].kind), { names: labels }, replicates);
  rows.forEach((r) => meter.add(r));
  return meter.results();
};
const near = (a: unknown, b: number, tolerance = 1e-6): void => assert.ok(Math.abs((a as number) - b) < tolerance, `${String(a)} is not ${b}`);
const row = (logits: number[], label: number, group = ''): Prediction => ({ kind: 'class', logits, label, group });

test('Brier and NLL of the probabilities (.7, .2, .1)', () => {
  const [brier, nll] = measure(['brier', 'nll'], [row([0.7, 0.2, 0.1].map(Math.log), 0)], ['a', 'b', 'c']);
  near(brier.value, 0.14);
  near(nll.value, 0.356675);
});

test('macro and micro F1 from tp (8,1), fp (2,0), fn (1,3)', () => {
  // truth 0 predicted 0: 8; 0→2: 1; 1→1: 1; 1→0: 2; 1→2: 1; class 2 is left out of the check by restricting to two columns
  const rows = [...Array(8).fill(row([1, 0, 0], 0)), row([0, 0, 1], 0), row([0, 1, 0], 1), row([1, 0, 0], 1), row([1, 0, 0], 1), row([0, 0, 1], 1)];
  const [macro, micro, accuracy] = measure(['macro-f1', 'micro-f1', 'accuracy'], rows, ['a', 'b', 'c']);
  near(macro.value, (16 / 19 + 2 / 5 + 0) / 3);
  near(micro.value, 9 / 13);
  near(accuracy.value, 9 / 13);
});

test('Matthews correlation: (6·3 - 1·2)/√(7·8·4·5), and none where nothing varies', () => {
  const rows = [...Array(6).fill(row([0, 1], 1)), ...Array(3).fill(row([1, 0], 0)), row([0, 1], 0), ...Array(2).fill(row([1, 0], 1))];
  near(measure(['mcc'], rows, ['a', 'b'])[0].value, 16 / Math.sqrt(1120));
  near(measure(['mcc'], [row([1, 0], 0), row([1, 0], 1)], ['a', 'b'])[0].value, 0);
});

test('ECE: one bin, confidence .8, half of it right', () => {
  const z = [Math.log(0.8), Math.log(0.2)];
  near(measure(['ece'], [row(z, 0), row(z, 1)], ['a', 'b'])[0].value, 0.3);
});

test('NLL stays finite where the probability underflows', () => {
  near(measure(['nll'], [row([2000, 0], 1)], ['a', 'b'])[0].value, 2000);
});

test('the confusion matrix has a row a true class', () => {
  assert.deepEqual(measure(['confusion'], [row([1, 0], 0), row([1, 0], 1), row([1, 0], 1)], ['a', 'b'])[0].value, [[1, 0], [2, 0]]);
});

test('spans as conlleval finds them', () => {
  const short = (tags: string) => spans(tags.split(' ')).map((s) => `${s.type} ${s.start}-${s.end}`);
  assert.deepEqual(short('I-PER I-PER O I-LOC'), ['PER 0-1', 'LOC 3-3']);
  assert.deepEqual(short('B-PER I-LOC I-LOC'), ['PER 0-0', 'LOC 1-2']);
  assert.deepEqual(short('O I-PER B-PER I-PER'), ['PER 1-1', 'PER 2-3']);
});

test('span F1 of the seqeval example is .5, micro and macro', () => {
  const tags = (gold: string, predicted: string): Prediction => ({ kind: 'tags', gold: gold.split(' '), predicted: predicted.split(' '), group: '' });
  const rows = [tags('O O O B-MISC I-MISC I-MISC O', 'O O B-MISC I-MISC I-MISC I-MISC O'), tags('B-PER I-PER O', 'B-PER I-PER O')];
  for (const m of measure(['span-f1', 'span-precision', 'span-recall', 'span-macro-f1'], rows, ['O', 'B-MISC', 'I-MISC', 'B-PER', 'I-PER'])) near(m.value, 0.5);
});

test('perplexity pools tokens: nll 1, 2, 3 over 12 bytes', () => {
  const rows: Prediction[] = [1, 2, 3].map((nll) => ({ kind: 'text', nll, tokens: 1, bytes: 4, group: '' }));
  const [ppl, bpb] = measure(['perplexity', 'bits-per-byte'], rows, []);
  near(ppl.value, 7.3890561);
  near(bpb.value, 0.7213475);
});

test('groups are measured apart and averaged without weights', () => {
  const rows = [row([1, 0], 0, 'fog'), row([1, 0], 1, 'fog'), row([1, 0], 0, 'snow')];
  const values = measure(['error'], rows, ['a', 'b']).map((r) => [r.group, r.value]);
  near(values[0][1], 1 / 3);
  assert.deepEqual(values.slice(1), [['fog', 0.5], ['snow', 0], ['mean', 0.25]]);
});

test('the bootstrap interval of an accuracy covers ± 2 standard errors', () => {
  const rows = Array.from({ length: 400 }, (_, i) => row([1, 0], i % 4 === 0 ? 1 : 0));
  const [{ value, low, high }] = measure(['accuracy'], rows, ['a', 'b'], 500);
  near(value, 0.75);
  const se = Math.sqrt((0.75 * 0.25) / 400);
  near(low, 0.75 - 1.96 * se, 0.01);
  near(high, 0.75 + 1.96 * se, 0.01);
});

/** Of class 0 with this energy, which is right or not, or of a class unknown. */
const scored = (energy: number, kind: 'right' | 'wrong' | 'unknown'): Prediction =>
  ({ kind: 'class', logits: [energy, energy - 1000], label: kind === 'right' ? 0 : kind === 'wrong' ? 1 : -1, group: '', ...(kind === 'unknown' ? { unknown: true } : {}) });

test('open set: known rows of energy 5, 3 (right) and 1 (wrong) among unknown of 4 and 0', () => {
  const rows = [scored(5, 'right'), scored(4, 'unknown'), scored(3, 'right'), scored(1, 'wrong'), scored(0, 'unknown')];
  const found = measure(['auroc', 'fpr95', 'oscr', 'h-score', 'error'], rows, ['a', 'b']);
  [4 / 6, 0.5, 0.5 * (1 / 3) + 0.5 * (2 / 3), 2 / 3, 1 / 3].forEach((v, i) => near(found[i].value, v));
  assert.deepEqual(found.map((r) => r.n), [5, 5, 5, 5, 3], 'the error is that of known rows');
});

test('open set: ties count half, the curve is linear between thresholds, and without unknown rows there is nothing to measure', () => {
  const [auroc, fpr] = measure(['auroc', 'fpr95'], [scored(2, 'right'), scored(2, 'unknown')], ['a', 'b']);
  near(auroc.value, 0.5);
  near(fpr.value, 0.95);
  assert.ok(Number.isNaN(measure(['auroc'], [scored(2, 'right')], ['a', 'b'])[0].value));
  // Large energy, but unsure: the largest probability tells them apart, the energy the other way.
  const unsure: Prediction = { kind: 'class', logits: [9, 9], label: -1, group: '', unknown: true };
  const [energy, msp] = measure(['auroc', 'auroc-msp'], [scored(2, 'right'), unsure], ['a', 'b']);
  assert.deepEqual([energy.value, msp.value], [0, 1]);
});

test('open set: the area is the share of pairs in order, at any scale of energies', () => {
  const rows = Array.from({ length: 60 }, (_, i) => scored(30 * Math.sin(i) + (i % 3 === 0 ? 0 : 12), i % 3 === 0 ? 'unknown' : 'right'));
  const [known, unknown] = [false, true].map((u) => rows.filter((r) => r.kind === 'class' && Boolean(r.unknown) === u).map((r) => (r.kind === 'class' ? r.logits[0] : 0)));
  const pairs = known.flatMap((k) => unknown.map((u) => (k > u ? 1 : 0))).reduce((a: number, b) => a + b, 0) / (known.length * unknown.length);
  near(measure(['auroc'], rows, ['a', 'b'])[0].value, pairs, 2e-3);
});

test('open set with a threshold: what is rejected is wrong where it is known and found where it is not', () => {
  const at = (p: number, label: number, unknown = false): Prediction => ({ kind: 'class', logits: [Math.log(p), Math.log(1 - p)], label, group: '', unknown });
  // Known: right and kept, right but rejected, wrong and kept, right and kept; unknown: found, not found.
  const rows = [at(0.9, 0), at(0.6, 0), at(0.9, 1), at(0.8, 0), at(0.55, 0, true), at(0.95, 0, true)];
  const [h, lax, energy] = measure(['h-score-osda-msp@0.7', 'h-score-osda-msp@0', 'h-score-osda@1'], rows, ['a', 'b']);
  near(h.value, 0.5);
  assert.equal(h.metric, 'h-score-osda-msp@0.7');
  assert.equal(lax.value, 0, 'nothing is rejected');
  assert.equal(energy.value, 0, 'ln Σ exp is 0 of every row: all are rejected, no known one is right');
  assert.throws(() => chooseMetrics(['h-score-osda'], 'class'), /h-score-osda: write h-score-osda@T with a number/);
  assert.throws(() => chooseMetrics(['h-score-osda@x'], 'class'), /with a number/);
  assert.throws(() => chooseMetrics(['error@1'], 'class'), /error takes no number/);
});

test('the prior that predictions show, against the shares of the labels', () => {
  const of = (p: number[], label: number): Prediction => row(p.map(Math.log), label);
  const [l1] = measure(['prior-l1'], [of([0.7, 0.2, 0.1], 0), of([0.5, 0.4, 0.1], 0)], ['a', 'b', 'c']);
  near(l1.value, 0.4 + 0.3 + 0.1);
});

test('a metric of another kind is refused', () => {
  assert.throws(() => chooseMetrics(['span-f1'], 'class'), /needs tags predictions/);
  assert.throws(() => chooseMetrics(['nope'], 'class'), /unknown metric/);
});

test('mIoU over the pixels of all images: the classes that occur, unlabelled pixels left out', () => {
  const mask = (predicted: number[], gold: number[]): Prediction => ({ kind: 'mask', predicted: Uint8Array.from(predicted), gold: Uint8Array.from(gold), group: '' });
  // Class 0: 2 of 3 in the union; class 1: 1 of 3; class 2: 0 of 1; class 3 never.
  const [miou, right] = measure(['miou', 'pixel-accuracy'], [mask([0, 0, 1, 1], [0, 0, 0, 1]), mask([2, 3], [1, 255])], ['a', 'b', 'c', 'd']);
  near(miou.value, (2 / 3 + 1 / 3 + 0) / 3);
  near(right.value, 3 / 5);
});
