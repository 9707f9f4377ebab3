import type { TopLevelSpec } from 'vega-lite';
import type { OptionSpecs, OptionValues } from '../options.js';

export interface PlotInput { name: string; bytes: Uint8Array; /** The bytes as UTF-8. */ text: string }

/** A kind of picture: one object in one file. */
export interface Picture {
  name: string;
  summary: string;
  options: OptionSpecs;
  /** Reads files that are not JSON lines alone: `text` is empty. */
  binary?: boolean;
  /** @throws GraftError (65) where the inputs hold nothing to draw */
  draw(inputs: readonly PlotInput[], options: OptionValues): Promise<TopLevelSpec>;
}
