import { argmax } from './classification.js';
import type { ClassPrediction, Metric, Prediction } from './metric.js';

/** p = softmax(z) in double precision. */
export function softmax(z: ArrayLike<number>): Float64Array {
  const p = Float64Array.from(z);
  const top = p[argmax(p)];
  let sum = 0;
  for (let c = 0; c < p.length; c++) sum += p[c] = Math.exp(p[c] - top);
  return p.map((v) => v / sum);
}

/** -ln p_y through the log-sum-exp, exact where p_y underflows. */
function negativeLogLikelihood(z: ArrayLike<number>, y: number): number {
  const top = z[argmax(z)];
  let sum = 0;
  for (let c = 0; c < z.length; c++) sum += Math.exp(z[c] - top);
  return top + Math.log(sum) - z[y];
}

const meanOf = (name: string, summary: string, term: (row: ClassPrediction) => number): Metric => ({
  name, summary, kind: 'class', size: () => 2,
  add: (row, sums, weight) => { sums[0] += weight * term(row as ClassPrediction); sums[1] += weight; },
  value: (sums) => sums[0] / sums[1],
});

export const nll = meanOf('nll', 'mean negative log-likelihood of the label, in nats', ({ logits, label }) => negativeLogLikelihood(logits, label));

/** Σ_c (p_c - 1[y=c])², between 0 and 2 (Brier, 1950). */
export const brier = meanOf('brier', 'mean squared distance of the probabilities from the label, 0 to 2', ({ logits, label }) =>
  softmax(logits).reduce((a, p, c) => a + (p - (c === label ? 1 : 0)) ** 2, 0));

const BINS = 15;

/** Expected calibration error over 15 equal-width bins of confidence: Σ_b n_b/n |acc_b - conf_b| (Guo et al., 2017). */
export const ece: Metric = {
  name: 'ece', summary: 'expected calibration error, 15 bins of confidence', kind: 'class', size: () => 3 * BINS,
  add: (row: Prediction, sums, weight) => {
    const { logits, label } = row as ClassPrediction;
    const p = softmax(logits), c = argmax(p);
    const bin = 3 * Math.min(BINS - 1, Math.max(0, Math.ceil(p[c] * BINS) - 1));
    sums[bin] += weight;
    sums[bin + 1] += weight * p[c];
    sums[bin + 2] += c === label ? weight : 0;
  },
  value: (sums) => {
    let n = 0, gap = 0;
    for (let b = 0; b < 3 * BINS; b += 3) { n += sums[b]; gap += Math.abs(sums[b + 2] - sums[b + 1]); }
    return gap / n;
  },
};
