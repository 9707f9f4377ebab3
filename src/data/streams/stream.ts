import type { Rng } from '@graft/kernels/random';
import type { OptionSpecs, OptionValues } from '../../options.js';

/** What a setting knows of the rows. */
export interface StreamRows {
  /** Row numbers by domain, domains in the order of the stream. */
  domains: { name: string; rows: Uint32Array }[];
  severity: readonly number[] | null;
  label: readonly number[] | null;
  /** Whether the row's class is none of the model's. */
  is_ood: readonly boolean[] | null;
}

/** One order in which a method meets the rows at test time. */
export interface StreamSetting {
  name: string;
  summary: string;
  options: OptionSpecs;
  /** Columns that must be there besides `domain`. */
  needs: readonly ('severity' | 'label' | 'is_ood')[];
  /** @returns row numbers in the order of the stream; a row may come more than once */
  order(rows: StreamRows, rng: Rng, options: OptionValues): Uint32Array;
}

/** Row numbers one part after another. */
export const flat = (parts: readonly ArrayLike<number>[]): Uint32Array => Uint32Array.from(parts.flatMap((p) => Array.from(p)));

/** Rows by label, labels in rising order. */
export function byLabel(rows: Uint32Array, label: readonly number[]): Map<number, number[]> {
  const classes = new Map<number, number[]>();
  for (const c of [...new Set(Array.from(rows, (r) => label[r]))].sort((a, b) => a - b)) classes.set(c, []);
  for (const r of rows) classes.get(label[r])!.push(r);
  return classes;
}
