import type { LabelSet, MaskPrediction, Metric } from './metric.js';

/** A pixel that is not scored, as in the masks of VOC, ADE20K and Cityscapes. */
export const UNLABELLED = 255;

/** Confusion counts [C × C] of pixels, row = truth, column = prediction. */
const counts: Metric['add'] = (row, sums, weight, { names }) => {
  const { predicted, gold } = row as MaskPrediction;
  for (let i = 0; i < gold.length; i++) if (gold[i] !== UNLABELLED) sums[gold[i] * names.length + predicted[i]] += weight;
};

/** Of each class: pixels that are it and were taken for it, that are it, that were taken for it. */
const perClass = (sums: Float64Array, C: number): { both: number; truth: number; predicted: number }[] => Array.from({ length: C }, (_, c) => {
  let truth = 0, predicted = 0;
  for (let k = 0; k < C; k++) { truth += sums[c * C + k]; predicted += sums[k * C + c]; }
  return { both: sums[c * C + c], truth, predicted };
});

const overPixels = (name: string, summary: string, value: (sums: Float64Array, C: number) => number): Metric =>
  ({ name, summary, kind: 'mask', size: ({ names }: LabelSet) => names.length ** 2, add: counts, value: (sums, { names }) => value(sums, names.length) });

/** Intersection over union of each class over all pixels, the mean over the classes that occur as truth or prediction. */
export const miou = overPixels('miou', 'mean intersection over union of the classes that occur', (sums, C) => {
  const present = perClass(sums, C).filter(({ truth, predicted }) => truth + predicted > 0);
  return present.reduce((a, { both, truth, predicted }) => a + both / (truth + predicted - both), 0) / present.length;
});

export const pixelAccuracy = overPixels('pixel-accuracy', 'pixels of the right class', (sums, C) =>
  perClass(sums, C).reduce((a, { both }) => a + both, 0) / sums.reduce((a, b) => a + b, 0));
