import type { ClassPrediction, LabelSet, Metric, Prediction } from './metric.js';

/** The class of the largest logit; the first among equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Confusion counts [C × C], row = truth, column = prediction: every metric of this file is a function of them. */
const counts = (row: Prediction, sums: Float64Array, weight: number, { names }: LabelSet): void => {
  const { label, logits } = row as ClassPrediction;
  sums[label * names.length + argmax(logits)] += weight;
};

function perClass(sums: Float64Array, C: number): { tp: number; fp: number; fn: number }[] {
  return Array.from({ length: C }, (_, c) => {
    let row = 0, column = 0;
    for (let k = 0; k < C; k++) { row += sums[c * C + k]; column += sums[k * C + c]; }
    const tp = sums[c * C + c];
    return { tp, fp: column - tp, fn: row - tp };
  });
}

const f1 = ({ tp, fp, fn }: { tp: number; fp: number; fn: number }): number => (tp + fp + fn > 0 ? (2 * tp) / (2 * tp + fp + fn) : 0);
const total = (sums: Float64Array): number => sums.reduce((a, b) => a + b, 0);
const trace = (sums: Float64Array, C: number): number => perClass(sums, C).reduce((a, { tp }) => a + tp, 0);

const overCounts = (name: string, summary: string, value: (sums: Float64Array, C: number) => number | number[][]): Metric =>
  ({ name, summary, kind: 'class', size: ({ names }) => names.length ** 2, add: counts, value: (sums, { names }) => value(sums, names.length) });

export const accuracy = overCounts('accuracy', 'rows whose most likely class is the label', (s, C) => trace(s, C) / total(s));

export const error = overCounts('error', '1 - accuracy', (s, C) => 1 - trace(s, C) / total(s));

/** Mean of the classes' F1 over the classes that occur as truth or prediction (scikit-learn's union of labels). */
export const macroF1 = overCounts('macro-f1', 'mean F1 of the classes that occur', (s, C) => {
  const present = perClass(s, C).filter(({ tp, fp, fn }) => tp + fp + fn > 0);
  return present.reduce((a, c) => a + f1(c), 0) / present.length;
});

/** Counts pooled over classes; for one label a row it equals accuracy. */
export const microF1 = overCounts('micro-f1', 'F1 of the pooled counts', (s, C) =>
  f1(perClass(s, C).reduce((a, c) => ({ tp: a.tp + c.tp, fp: a.fp + c.fp, fn: a.fn + c.fn }))));

export const balancedAccuracy = overCounts('balanced-accuracy', 'mean recall of the classes that occur', (s, C) => {
  const present = perClass(s, C).filter(({ tp, fn }) => tp + fn > 0);
  return present.reduce((a, { tp, fn }) => a + tp / (tp + fn), 0) / present.length;
});

/** Matthews correlation for any number of classes (Gorodkin, 2004); 0 where truth or prediction never varies. */
export const mcc = overCounts('mcc', 'Matthews correlation', (s, C) => {
  const n = total(s), sides = perClass(s, C).map(({ tp, fp, fn }) => ({ truth: tp + fn, predicted: tp + fp }));
  const spread = (value: (side: { truth: number; predicted: number }) => number): number => n ** 2 - sides.reduce((a, side) => a + value(side), 0);
  const varied = spread(({ truth }) => truth ** 2) * spread(({ predicted }) => predicted ** 2);
  return varied > 0 ? (trace(s, C) * n - sides.reduce((a, { truth, predicted }) => a + truth * predicted, 0)) / Math.sqrt(varied) : 0;
});

export const confusion = overCounts('confusion', 'counts, a row a true class, a column a predicted one', (s, C) =>
  Array.from({ length: C }, (_, c) => Array.from(s.subarray(c * C, (c + 1) * C))));
