import type { Scalar, Tensor, Tensor1D } from '@graft/kernels';
import type { Row } from '../formats/rows.js';
import type { Table } from '../formats/table.js';
import type { Prediction } from '../metrics/metric.js';
import type { RowLosses } from '../models/forward.js';
import type { Batch } from '../models/model.js';
import type { OptionSpecs } from '../options.js';
import type { Runtime } from '../runtime.js';

/** What preparing rows needs to know. */
export interface Preparation {
  runtime: Runtime;
  table: Table;
  /** Longest text in tokens. */
  maxLength: number;
  /** The objective's own options. */
  options: Record<string, unknown>;
  seed: number;
  /** Rows are only predicted: a target that is missing, or none of the head's, is left out and no error. */
  unlabelled?: boolean;
}

/** A row made ready once; `length` is what batches are grouped by, `task` and `domain` what routed methods choose by. */
export interface Example { length: number; task?: string; domain?: string }

/** What a batch is scored against. */
export interface Targets {
  /** How many terms the loss sums, or their weight: the mean over a step is over all of its micro-batches' terms. */
  count: number;
  /** int32, one for each row of the logits, flattened; -100 where nothing is scored. */
  labels: Int32Array;
  /** What each of `labels` counts; without them all count the same. */
  weights?: Float32Array;
  /** Both of them as tensors, where a step is recorded through which other values of theirs will go. */
  tensors?: { labels: Tensor1D; weights?: Tensor1D };
  /** What is regressed to, as the prediction lies: noise. */
  values?: Float32Array;
  /** Where only some of the B·T token positions are scored: which. The logits are [1, N, V] of these alone. */
  positions?: Int32Array;
  /** The example each of `positions` belongs to. */
  owners?: Int32Array;
}

/** A training objective: how rows become batches, and what is minimised. One object in one file. */
export interface Objective<E extends Example = Example> {
  name: string;
  summary: string;
  /** The `task` of heads it trains. */
  task: string;
  kind: Prediction['kind'];
  /** The metric early stopping watches, and whether more of it is better. */
  metric: { name: string; larger: boolean };
  options: OptionSpecs;
  /** The columns a prediction reads; absent where the target is a part of the input (language models). */
  reads?(table: Pick<Table, 'columns'>): string[];
  /** @throws GraftError (65) for a missing column */
  require(table: Table, options: Record<string, unknown>): void;
  /** @throws GraftError (65) naming the row for a label out of range and the like */
  prepare(rows: readonly Row[], first: number, p: Preparation): Promise<E[]>;
  /** Turns all prepared examples into what is trained on (packing); some may be left out. */
  arrange?(examples: E[], p: Preparation): E[];
  /** @param epoch dynamic noise (masks) is a function of the seed, the epoch and the example */
  batch(examples: readonly E[], epoch: number, p: Preparation): { inputs: Batch; targets: Targets };
  /** The sum over scored terms: the step divides it by their number. */
  loss(logits: Tensor, targets: Targets, options: Record<string, unknown>): Scalar;
  /** The losses of the terms straight from the last layer of a head, in place of its logits; `loss` is then their sum, and `outputs` is given them, [N]. */
  losses?(targets: Targets, options: Record<string, unknown>): RowLosses;
  /** The prediction columns of each example. */
  outputs(logits: Tensor, examples: readonly E[], targets: Targets, p: Preparation): Row[];
}
