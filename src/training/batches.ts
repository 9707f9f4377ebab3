import { Rng } from '@graft/kernels';

export interface BatchOptions {
  batchSize: number;
  seed: number;
  shuffle?: boolean;
  /** Batches of similar length: less padding, a little less random. */
  groupByLength?: boolean;
  /** Leave out the last batch of an epoch when it is not full. */
  dropLast?: boolean;
}

/** The batches of one epoch as lists of example indices: a function of the seed, the epoch and the lengths alone. */
export function epochBatches(lengths: readonly number[], epoch: number, o: BatchOptions): number[][] {
  const rng = new Rng('batches', o.seed, epoch);
  const n = lengths.length;
  let order = o.shuffle === false ? Array.from({ length: n }, (_, i) => i) : Array.from(rng.permutation(n));
  if (o.groupByLength) order = sortPools(order, lengths, o.batchSize);
  const batches: number[][] = [];
  for (let i = 0; i < n; i += o.batchSize) batches.push(order.slice(i, i + o.batchSize));
  if (o.dropLast && batches.length > 1 && batches[batches.length - 1].length < o.batchSize) batches.pop();
  return o.groupByLength && o.shuffle !== false ? rng.shuffle(batches) : batches;
}

/** Pools of this many batches are sorted by length, so that batches are even while their make-up stays random. */
const POOL = 50;

function sortPools(order: number[], lengths: readonly number[], batchSize: number): number[] {
  const sorted: number[] = [];
  for (let i = 0; i < order.length; i += POOL * batchSize) {
    sorted.push(...order.slice(i, i + POOL * batchSize).sort((a, b) => lengths[b] - lengths[a] || a - b));
  }
  return sorted;
}

/** Batches in an epoch. */
export const batchCount = (n: number, o: Pick<BatchOptions, 'batchSize' | 'dropLast'>): number =>
  o.dropLast ? Math.max(1, Math.floor(n / o.batchSize)) : Math.ceil(n / o.batchSize);

/** Where optimiser step `step` (0 at the first) takes its micro-batches: an epoch, and a range of its batches. */
export function stepPosition(step: number, batchesPerEpoch: number, accumulate: number): { epoch: number; from: number; to: number } {
  const stepsPerEpoch = Math.ceil(batchesPerEpoch / accumulate);
  const from = (step % stepsPerEpoch) * accumulate;
  return { epoch: Math.floor(step / stepsPerEpoch), from, to: Math.min(batchesPerEpoch, from + accumulate) };
}

/** Splits 0 … n-1 into training and validation indices, both in their original order; at least one row stays on each side. */
export function splitValidation(n: number, share: number, seed: number): { train: number[]; valid: number[] } {
  const held = Math.min(n - 1, Math.max(1, Math.round(n * share)));
  const chosen = new Set(new Rng('validation', seed).permutation(n).subarray(0, held));
  const all = Array.from({ length: n }, (_, i) => i);
  return { train: all.filter((i) => !chosen.has(i)), valid: all.filter((i) => chosen.has(i)) };
}
