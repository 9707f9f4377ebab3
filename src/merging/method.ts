import type { Paper } from '../adapters/method.js';
import type { Graft } from '../formats/graft.js';
import type { OptionSpecs, OptionValues } from '../options.js';

/** One tensor of every model that is merged, flat, as float32. */
export interface Tensors {
  name: string;
  /** θ₀; null where no base was named. */
  base: Float32Array | null;
  /** θ_i. */
  models: readonly Float32Array[];
  /** w_i. */
  weights: readonly number[];
  /** What is kept of each task vector, where that differs by model; else the method's own density holds for all. */
  densities?: readonly number[];
}

/** A way of merging checkpoints, tensor by tensor. */
export interface MergingMethod<C extends OptionValues = OptionValues> {
  name: string;
  summary: string;
  paper: Paper | null;
  options: OptionSpecs;
  needsBase: boolean;
  /** Each entry of the result depends on the same entry of the models alone: tensors are merged in pieces. */
  entrywise?: boolean;
  /** Where the result is Σ w_i θ_i / D alone, D: tensors are added up where they lie. */
  divisor?(weights: readonly number[], config: C): number;
  /** Returns the merged tensor in new memory. */
  merge(tensors: Tensors, config: C): Float32Array;
  /** Makes one graft, maybe of another method, of grafts as such; what does so merges no weights. */
  grafts?(grafts: readonly Graft[], weights: readonly number[], config: C & { seed?: number }): Graft;
}
