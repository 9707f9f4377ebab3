/** One predicted row, as metrics see it. */
/** Of a row of a class the model does not know, `label` says nothing. */
export interface ClassPrediction { kind: 'class'; logits: ArrayLike<number>; label: number; group: string; unknown?: boolean }
export interface TagPrediction { kind: 'tags'; predicted: readonly string[]; gold: readonly string[]; group: string }
/** Summed negative log-likelihood (nats) of `tokens` scored tokens, `bytes` of UTF-8 text. */
export interface TextPrediction { kind: 'text'; nll: number; tokens: number; bytes: number; group: string }
/** The mean squared error of the noise predicted in an image. */
export interface NoisePrediction { kind: 'noise'; mse: number; group: string }
/** The class of each pixel; those whose gold class is 255 are not scored. */
export interface MaskPrediction { kind: 'mask'; predicted: Uint8Array; gold: Uint8Array; group: string }
export type Prediction = ClassPrediction | TagPrediction | TextPrediction | NoisePrediction | MaskPrediction;

/** What the labels are called; metrics over classes size themselves by it. */
export interface LabelSet {
  names: readonly string[];
  /** Entity types by their place in the sums, as metrics over spans find them. */
  types?: Map<string, number>;
}

/**
 * A metric that is a function of sums over rows. So streams of any length are measured in constant memory, groups add up,
 * and a bootstrap replicate is the same sums under random weights.
 */
export interface Metric {
  name: string;
  summary: string;
  kind: Prediction['kind'];
  /** What is given behind its name, as in `name@0.5`. */
  takes?: string;
  /** Takes rows of unknown classes; others are measured on the known rows alone. */
  openSet?: boolean;
  /** How many sums it keeps. */
  size(labels: LabelSet): number;
  /** Adds `weight` times the row's terms to `sums`. */
  add(row: Prediction, sums: Float64Array, weight: number, labels: LabelSet, given?: number): void;
  /** The value, NaN where there is nothing to measure; structured values (a confusion matrix) have no interval. */
  value(sums: Float64Array, labels: LabelSet): number | number[][];
}
