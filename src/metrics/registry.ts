import { usageError } from '../errors.js';
import { brier, ece, nll } from './calibration.js';
import { accuracy, balancedAccuracy, confusion, error, macroF1, mcc, microF1 } from './classification.js';
import { bitsPerByte, perplexity, tokenNll } from './likelihood.js';
import type { Metric, Prediction } from './metric.js';
import { noiseMse } from './noise.js';
import { openSetMetrics, rejectionMetrics } from './open-set.js';
import { priorL1 } from './prior.js';
import { miou, pixelAccuracy } from './segmentation.js';
import { spanF1, spanMacroF1, spanPrecision, spanRecall, tagAccuracy } from './spans.js';

const METRICS: Metric[] = [
  accuracy, error, macroF1, microF1, balancedAccuracy, mcc, nll, brier, ece, confusion,
  spanF1, spanPrecision, spanRecall, spanMacroF1, tagAccuracy,
  perplexity, tokenNll, bitsPerByte, noiseMse, miou, pixelAccuracy, ...openSetMetrics, ...rejectionMetrics, priorL1,
];

const DEFAULTS: Record<Prediction['kind'], string[]> = {
  class: ['accuracy', 'macro-f1', 'nll', 'brier', 'ece'],
  tags: ['span-f1', 'span-precision', 'span-recall', 'tag-accuracy'],
  text: ['perplexity', 'token-nll', 'bits-per-byte'],
  noise: ['noise-mse'],
  mask: ['miou', 'pixel-accuracy'],
};

export const metricNames = (): string[] => METRICS.map(({ name, takes }) => (takes === undefined ? name : `${name}@${takes}`));

/** The metrics asked for, or those that suit the predictions. @throws GraftError (usage) for a name unknown or of another kind, or without the number it takes. */
export function chooseMetrics(names: readonly string[], kind: Prediction['kind']): Metric[] {
  return (names.length > 0 ? names : DEFAULTS[kind]).map((asked) => {
    const [name, given] = asked.split('@'), metric = METRICS.find((m) => m.name === name);
    if (!metric) throw usageError(`unknown metric '${name}': one of ${metricNames().join(', ')}`);
    if (metric.kind !== kind) throw usageError(`${name} needs ${metric.kind} predictions; these are ${kind}`);
    if (metric.takes === undefined && given === undefined) return metric;
    const value = given === undefined || given.trim() === '' ? NaN : Number(given);
    if (metric.takes === undefined || !Number.isFinite(value)) throw usageError(metric.takes === undefined ? `${asked}: ${name} takes no number` : `${asked}: write ${name}@${metric.takes} with a number`);
    return { ...metric, name: asked, add: (row, sums, weight, labels) => metric.add(row, sums, weight, labels, value) };
  });
}
