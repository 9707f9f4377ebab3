import type { OptionSpecs } from '../options.js';
import type { Sequence } from './method.js';

/** Rewrites the scores [V] of the token that follows a sequence, in place. */
export type Processor = (scores: Float32Array, sequence: Sequence) => void;

/** Options of the rules below, neutral unless given. */
export const PROCESSOR_OPTIONS = {
  repetitionPenalty: { type: 'number', metavar: 'T', default: 1, min: 0.01, describe: 'scores of tokens that occurred, in the prompt too, are divided by T where positive and multiplied where negative (CTRL)' },
  presencePenalty: { type: 'number', metavar: 'X', default: 0, describe: 'taken off the score of every token generated before' },
  frequencyPenalty: { type: 'number', metavar: 'X', default: 0, describe: 'taken off the score of a token for each time it was generated' },
  noRepeatNgram: { type: 'number', metavar: 'N', default: 0, min: 0, describe: 'no N tokens in a row occur twice' },
  minNew: { type: 'number', metavar: 'N', default: 0, min: 0, describe: 'the text does not end before so many tokens' },
} as const satisfies OptionSpecs;

export interface ProcessorConfig { repetitionPenalty: number; presencePenalty: number; frequencyPenalty: number; noRepeatNgram: number; minNew: number }

/** The rules that are not at their neutral value, in the order transformers runs them. */
export function processors(c: ProcessorConfig, endIds: ReadonlySet<number>): { process: Processor; plain: boolean } {
  const chain = [
    ...(c.repetitionPenalty !== 1 ? [repetitionPenalty(c.repetitionPenalty)] : []),
    ...(c.presencePenalty !== 0 || c.frequencyPenalty !== 0 ? [countPenalty(c.presencePenalty, c.frequencyPenalty)] : []),
    ...(c.noRepeatNgram > 0 ? [noRepeatNgram(c.noRepeatNgram)] : []),
    ...(c.minNew > 0 ? [minNew(c.minNew, endIds)] : []),
  ];
  return { process: (scores, sequence) => chain.forEach((rule) => rule(scores, sequence)), plain: chain.length === 0 };
}

/** Keskar et al., 2019, section 4.1: each id that occurred counts once. */
export const repetitionPenalty = (theta: number): Processor => (scores, { ids }) => {
  for (const id of new Set(ids)) if (id < scores.length) scores[id] = scores[id] < 0 ? scores[id] * theta : scores[id] / theta;
};

export const countPenalty = (presence: number, frequency: number): Processor => (scores, { ids, prompt }) => {
  const generated = ids.slice(prompt);
  for (const id of generated) scores[id] -= frequency;
  for (const id of new Set(generated)) scores[id] -= presence;
};

/** Bans the tokens that would complete n tokens which stand in the sequence already. */
export const noRepeatNgram = (n: number): Processor => (scores, { ids }) => {
  const last = ids.slice(ids.length - (n - 1));
  for (let i = 0; i + n <= ids.length; i++) if (last.every((id, j) => ids[i + j] === id)) scores[ids[i + n - 1]] = -Infinity;
};

const minNew = (n: number, endIds: ReadonlySet<number>): Processor => (scores, { ids, prompt }) => {
  if (ids.length - prompt < n) for (const id of endIds) scores[id] = -Infinity;
};
