import type { Rng } from '@graft/kernels';
import type { Drawn, Sampling } from '@graft/kernels/distribution';
import type { Paper } from '../adapters/method.js';
import type { OptionSpecs, OptionValues } from '../options.js';

/** A text that grows: the prompt, and what was generated after it. */
export interface Sequence {
  ids: readonly number[];
  /** How many of them are the prompt. */
  prompt: number;
  /** Σ ln p of the generated tokens, under the distribution they were chosen from. */
  score: number;
}

/** Why a sequence ended: the model's end of text, a stop string, or the limit. */
export type Finish = 'end' | 'stop' | 'length';

export interface Finished extends Sequence { finish: Finish }

/** What all ways of choosing have in common, fixed for one prompt. */
export interface Setting {
  /** Ids that end a text. */
  endIds: ReadonlySet<number>;
  /** Most tokens to generate. */
  maxNew: number;
  /** Rewrites the scores [V] of the token that follows a sequence (penalties, bans). */
  process(scores: Float32Array, sequence: Sequence): void;
  /** `process` leaves all as it is. */
  plain?: boolean;
  /** Whether a sequence ends with its last token. */
  ended(sequence: Sequence): Finish | null;
}

/** The sequences that grow from one prompt. */
export interface Search {
  /** How many grow at first, each from a copy of the prompt. */
  readonly width: number;
  /**
   * Chooses the next token of every growing sequence.
   * @param logits [V] for each of them; may be overwritten
   * @returns those that grow on: from which of them, and by which token; empty when all is done
   */
  step(logits: readonly Float32Array[]): { parent: number; token: number }[];
  /** How tokens are drawn, where their logits need not be seen for it; null or absent where they must. */
  readonly sampling?: Sampling | null;
  /** A number in [0, 1) for each growing sequence, by which its next token is drawn. */
  uniforms?(): number[];
  /** As `step`, of tokens that were drawn by them. */
  take?(drawn: readonly Drawn[]): { parent: number; token: number }[];
  /** The ended sequences, best first. */
  results(): Finished[];
}

/** A published way of choosing tokens: one object in one file. */
export interface DecodingMethod<C extends OptionValues = OptionValues> {
  name: string;
  summary: string;
  paper: Paper | null;
  options: OptionSpecs;
  /** @param samples how many results are wanted; @param rng the prompt's own stream for each of them */
  start(prompt: readonly number[], setting: Setting, config: C, samples: number, rng: (sample: number) => Rng): Search;
}
