import type { Rng } from '@graft/kernels/random';
import type { OptionSpecs, OptionValues } from '../../options.js';

/** What a setting knows of the rows. */
export interface StreamRows {
  /** Row numbers by domain, domains in the order of the stream. */
  domains: { name: string; rows: Uint32Array }[];
  severity: readonly number[] | null;
  label: readonly number[] | null;
}

/** One order in which a method meets the rows at test time. */
export interface StreamSetting {
  name: string;
  summary: string;
  options: OptionSpecs;
  /** Columns that must be there besides `domain`. */
  needs: readonly ('severity' | 'label')[];
  /** @returns row numbers in the order of the stream; a row may come more than once */
  order(rows: StreamRows, rng: Rng, options: OptionValues): Uint32Array;
}
