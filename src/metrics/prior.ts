import { softmax } from './calibration.js';
import type { ClassPrediction, Metric } from './metric.js';

/** Σ_c |p̂_c - π_c| of the label prior that the predictions show, the mean of their probabilities, and the true one: 0 to 2. */
export const priorL1: Metric = {
  name: 'prior-l1', summary: 'L1 distance of the mean probabilities from the shares of the labels, 0 to 2', kind: 'class', size: ({ names }) => 2 * names.length,
  add(row, sums, weight) {
    const { logits, label } = row as ClassPrediction;
    softmax(logits).forEach((p, c) => { sums[c] += weight * p; });
    sums[logits.length + label] += weight;
  },
  value(sums) {
    const C = sums.length / 2, n = sums.subarray(C).reduce((a, b) => a + b, 0);
    return sums.subarray(0, C).reduce((d, p, c) => d + Math.abs(p - sums[C + c]) / n, 0);
  },
};
