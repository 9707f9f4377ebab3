import { scoped, tf, untracked, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { weightedMean } from './losses.js';
import type { Source } from './network.js';
import { BATCH } from './statistics.js';

/** The option of methods that learn from some rows of a batch only. */
export const selectOption = {
  select: { type: 'string', describe: 'rows that count: all, or those whose probability of the source model\'s class has not fallen (OSTTA)', default: 'all', choices: ['all', 'crowd'] },
} as const;

/** Says which rows of a batch count, beside what a method asks of them itself. */
export interface Selection {
  /** @param z the logits [B, C] of the adapted model for the batch x */
  rows(x: Tensor4D, z: Tensor2D): boolean[];
  /** The mean of values [B] over these rows; 0 where there are none. */
  mean(values: Tensor1D, x: Tensor4D, z: Tensor2D): Tensor;
  dispose(): void;
}

export function selection(source: Source, kind: 'all' | 'crowd'): Selection {
  if (kind === 'all') return { rows: (_x, z) => Array<boolean>(z.shape[0]).fill(true), mean: (values) => tf.mean(values), dispose: () => undefined };
  const original = source.copy([], BATCH);
  const rows = (x: Tensor4D, z: Tensor2D): boolean[] => untracked(() => scoped(() => crowd(...[original.logits(x), z].map((t) => tf.softmax(t).arraySync()) as [number[][], number[][]])));
  return { rows, mean: (values, x, z) => weightedMean(values, rows(x, z).map(Number)), dispose: () => original.dispose() };
}

/** Φ_i = 1[ŷ_a,i^c ≥ ŷ_o,i^c] with c = argmax ŷ_o,i (Lee et al., 2023, equation 3), from probabilities of the original and the adapted model. */
export const crowd = (original: readonly number[][], adapted: readonly number[][]): boolean[] => original.map((p, i) => {
  const c = p.indexOf(Math.max(...p));
  return adapted[i][c] >= p[c];
});
