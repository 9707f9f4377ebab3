import { softmax } from './calibration.js';
import { argmax } from './classification.js';
import type { ClassPrediction, Metric } from './metric.js';

/**
 * Metrics of streams that hold rows of unknown classes beside known ones: how well a score tells known rows, the positive, from unknown. A
 * score counts in one of 4096 equal steps, so that they are sums over rows as other metrics are; scores in one step are ties.
 */
const BINS = 4096;

interface Score { suffix: string; what: string; of(logits: ArrayLike<number>): number; from: number; to: number }

const SCORES: readonly Score[] = [
  { suffix: '', what: 'ln Σ exp of the logits', of: energy, from: -32, to: 96 },
  { suffix: '-msp', what: 'the largest probability', of: (z) => Math.max(...softmax(z)), from: 0, to: 1 },
];

/** ln Σ_c exp(z_c). */
export function energy(z: ArrayLike<number>): number {
  const top = z[argmax(z)];
  return top + Math.log(Array.from(z).reduce((s, v) => s + Math.exp(v - top), 0));
}

/** A point of the curve, at a threshold: shares of the unknown rows, of the known ones, and of the known and correct ones among the known, above it. */
interface Point { unknown: number; known: number; correct: number }

/** From no row above the threshold to all of them; null where either kind has no rows. sums: known, unknown, known and correct rows by step. */
function curve(sums: Float64Array): Point[] | null {
  const total = (kind: number): number => sums.subarray(kind * BINS, (kind + 1) * BINS).reduce((a, b) => a + b, 0);
  const [K, U] = [total(0), total(1)];
  if (K === 0 || U === 0) return null;
  const points: Point[] = [{ unknown: 0, known: 0, correct: 0 }];
  for (let b = BINS - 1; b >= 0; b--) {
    const last = points[points.length - 1], [k, u, c] = [0, 1, 2].map((kind) => sums[kind * BINS + b]);
    if (k > 0 || u > 0) points.push({ unknown: last.unknown + u / U, known: last.known + k / K, correct: last.correct + c / K });
  }
  return points;
}

/** The area under a curve over the share of unknown rows. */
const area = (points: readonly Point[], of: 'known' | 'correct'): number =>
  points.slice(1).reduce((a, p, i) => a + (p.unknown - points[i].unknown) * 0.5 * (p[of] + points[i][of]), 0);

/** The share of unknown rows above the threshold that 95 % of the known ones are above, linear between thresholds. */
function fpr95(points: readonly Point[]): number {
  const at = points.findIndex((p) => p.known >= 0.95 - 1e-12), [low, high] = [points[at - 1], points[at]];
  return low.unknown + ((0.95 - low.known) / (high.known - low.known)) * (high.unknown - low.unknown);
}

const harmonic = (a: number, b: number): number => (a + b > 0 ? (2 * a * b) / (a + b) : 0);

const VALUES: readonly { name: string; summary(what: string): string; of(points: readonly Point[]): number }[] = [
  { name: 'auroc', summary: (s) => `chance that a known row has a larger score (${s}) than one of unknown class`, of: (p) => area(p, 'known') },
  { name: 'fpr95', summary: (s) => `unknown rows whose score (${s}) is above that of 95 % of the known rows`, of: fpr95 },
  { name: 'oscr', summary: (s) => `area under known rows above a score (${s}) and correct, over unknown rows above it`, of: (p) => area(p, 'correct') },
  { name: 'h-score', summary: (s) => `harmonic mean of the accuracy of known rows and the AUROC (${s})`, of: (p) => harmonic(p[p.length - 1].correct, area(p, 'known')) },
];

export const openSetMetrics: readonly Metric[] = SCORES.flatMap(({ suffix, what, of: score, from, to }) => VALUES.map(({ name, summary, of }): Metric => ({
  name: name + suffix, summary: summary(what), kind: 'class', openSet: true, size: () => 3 * BINS,
  add(row, sums, weight) {
    const { logits, label, unknown } = row as ClassPrediction;
    const bin = Math.max(0, Math.min(BINS - 1, Math.floor(((score(logits) - from) / (to - from)) * BINS)));
    sums[(unknown ? BINS : 0) + bin] += weight;
    if (!unknown && argmax(logits) === label) sums[2 * BINS + bin] += weight;
  },
  value(sums) {
    const points = curve(sums);
    return points ? of(points) : NaN;
  },
})));

/**
 * The H-score of open-set domain adaptation, where a row below a threshold is rejected: harmonic mean of the share of known rows that are
 * right and not rejected, and of the share of unknown rows that are.
 */
const rejecting = ({ suffix, what, of: score }: Score): Metric => ({
  name: `h-score-osda${suffix}`, summary: `harmonic mean of the accuracy of known rows and the share of unknown rows found, those with a score (${what}) below T`,
  kind: 'class', openSet: true, takes: 'T', size: () => 4,
  add(row, sums, weight, _labels, threshold) {
    const { logits, label, unknown } = row as ClassPrediction, rejected = score(logits) < threshold!, at = unknown ? 2 : 0;
    sums[at] += weight;
    if (unknown ? rejected : !rejected && argmax(logits) === label) sums[at + 1] += weight;
  },
  value: ([known, right, unknown, found]) => (known > 0 && unknown > 0 ? harmonic(right / known, found / unknown) : NaN),
});

export const rejectionMetrics: readonly Metric[] = SCORES.map(rejecting);
