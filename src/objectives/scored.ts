import { crossEntropy, linearCrossEntropy, tf, type Scalar, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import { padBatch } from '../data/encode.js';
import type { Encoded } from '../data/tokenizer.js';
import { usageError } from '../errors.js';
import type { Row } from '../formats/rows.js';
import type { RowLosses } from '../models/forward.js';
import type { TextBatch } from '../models/model.js';
import type { Example, Preparation, Targets } from './objective.js';

/** A label that costs nothing. */
export const IGNORED = -100;

/** A tokenised text with a label for each token: the token itself where it is scored, otherwise IGNORED. */
export interface Spoken extends Example {
  text: Encoded;
  /** int32 [T] */
  labels: Int32Array;
  /** Its number in the data, which seeds its noise. */
  row: number;
  /** UTF-8 length of what is scored. */
  bytes: number;
}

/**
 * Texts with the labels of their token positions. Only the scored positions become targets, so that a head with a large vocabulary is
 * evaluated nowhere else.
 * @param labels one list for each text, aligned with the positions whose logits predict them
 */
export function scoredBatch(texts: readonly Encoded[], labels: readonly ArrayLike<number>[], padId: number): { inputs: TextBatch; targets: Targets } {
  const inputs = padBatch(texts, padId);
  const T = inputs.ids.shape[1];
  const found: [label: number, position: number, owner: number][] = [];
  labels.forEach((l, b) => { for (let t = 0; t < l.length; t++) if (l[t] !== IGNORED) found.push([l[t], b * T + t, b]); });
  const count = found.length;
  if (count === 0) found.push([IGNORED, 0, 0]); // tensors need a row
  const [values, positions, owners] = [0, 1, 2].map((i) => Int32Array.from(found, (f) => f[i]));
  return { inputs, targets: { count, labels: values, positions, owners } };
}

/** Cross-entropy of each row of the logits, 0 where nothing is scored: [N]. */
export function rowLosses(logits: Tensor, targets: Pick<Targets, 'labels' | 'tensors'>, labelSmoothing = 0): Tensor1D {
  return crossEntropy(tf.reshape(logits, [-1, logits.shape.at(-1)!]) as Tensor2D, labelsOf(targets), { labelSmoothing });
}

const labelsOf = ({ labels, tensors }: Pick<Targets, 'labels' | 'tensors'>): Tensor1D => tensors?.labels ?? tf.tensor1d(labels, 'int32');

export function totalLoss(logits: Tensor, targets: Targets, options: Record<string, unknown>): Scalar {
  return sumOfLosses(rowLosses(logits, targets, Number(options.labelSmoothing ?? 0)), targets);
}

/** The sum over rows, each as often as it counts. */
export const sumOfLosses = (losses: Tensor1D, { weights, tensors }: Targets): Scalar => tf.sum(weights ? tf.mul(losses, tensors?.weights ?? tf.tensor1d(weights)) : losses);

/** The rows' losses without logits of all of them: for vocabularies. */
export const vocabularyLosses = (targets: Targets): RowLosses => (x, W, b) =>
  linearCrossEntropy(tf.reshape(x, [-1, x.shape.at(-1)!]) as Tensor2D, W, b, labelsOf(targets));

/** Total negative log-likelihood, scored tokens and bytes of each example. @param given the logits, or already the losses of their rows, [N] */
export function likelihoodRows(given: Tensor, examples: readonly Spoken[], { count, labels, owners }: Targets): Row[] {
  const losses = (given.rank === 1 ? given : rowLosses(given, { labels })).dataSync();
  const rows = examples.map((e) => ({ nll: 0, tokens: 0, bytes: e.bytes }));
  for (let i = 0; i < count; i++) {
    rows[owners![i]].nll += losses[i];
    rows[owners![i]].tokens++;
  }
  return rows;
}

/**
 * What a term with each label counts in training, as `--class-weights` says; null where all count the same. `balanced` is
 * n/(K·n_c) for the n labels of K classes that occur, n_c of them c.
 * @throws GraftError (usage) for weights that are none, or not one a class
 */
export function classWeights(labels: Iterable<number>, { options, runtime }: Preparation): number[] | null {
  if (options.classWeights === undefined) return null;
  const given = String(options.classWeights), classes = runtime.head!.labels!.length;
  if (given === 'balanced') {
    const counts = new Array<number>(classes).fill(0);
    for (const l of labels) counts[l]++;
    const occurring = counts.filter((n) => n > 0).length, total = counts.reduce((a, b) => a + b, 0);
    return counts.map((n) => (n > 0 ? total / (occurring * n) : 0));
  }
  const weights = given.split(',').map((w) => (w.trim() === '' ? NaN : Number(w)));
  if (weights.length !== classes || !weights.every((w) => Number.isFinite(w) && w >= 0)) {
    throw usageError(`--class-weights ${given}: give 'balanced', or a number for each of the ${classes} classes in their order`);
  }
  return weights;
}

/** What a target spread over all classes takes as an option. */
export const labelSmoothing = { labelSmoothing: { type: 'number', metavar: 'E', describe: 'share of the target spread over all classes', default: 0, min: 0, max: 1 } } as const;

/** What objectives with few classes take as options. */
export const classOptions = {
  ...labelSmoothing,
  classWeights: { type: 'string', metavar: 'balanced|W,...', describe: "what a label's losses count by its class, in the head's order; the mean is over their sum. balanced: rare classes as much as common ones" },
} as const;
