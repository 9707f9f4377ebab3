import type { Flow } from '../columns.js';
import type { OptionSpecs, OptionValues } from '../../options.js';

/** Data made from nothing but a seed. */
export interface Generator {
  name: string;
  summary: string;
  options: OptionSpecs;
  /** @param n rows */
  make(n: number, seed: number, options: OptionValues): Flow;
}
