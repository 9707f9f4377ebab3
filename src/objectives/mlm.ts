import { Rng } from '@graft/kernels';
import type { Encoded } from '../data/tokenizer.js';
import { usageError } from '../errors.js';
import { textOf } from './classify.js';
import type { Objective } from './objective.js';
import { IGNORED, likelihoodRows, scoredBatch, totalLoss, vocabularyLosses, type Spoken } from './scored.js';

/**
 * Masked language modelling (Devlin et al., 2019): of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay. Masks are
 * drawn anew each epoch from (seed, epoch, row), whatever the batch.
 */
const mlm: Objective<Spoken> = {
  name: 'mlm',
  summary: 'masked language modelling',
  task: 'mlm',
  kind: 'text',
  metric: { name: 'token-nll', larger: false },
  options: {
    maskShare: { type: 'number', metavar: 'P', describe: 'probability that a token is chosen', default: 0.15, min: 0, max: 1 },
    wholeWords: { type: 'boolean', default: false, describe: 'choose whole words, until their tokens make up that share' },
  },
  require: (table) => table.requireColumns(['text']),

  async prepare(rows, first, p) {
    const { tokenizer } = p.runtime;
    if (tokenizer.maskId === undefined) throw usageError('mlm: the tokeniser has no mask token');
    return rows.map((row, i) => {
      const source = textOf(row, 'text', p, first + i);
      const text = tokenizer.encode(source, null, p.maxLength);
      return { length: text.ids.length, text, labels: Int32Array.from(text.ids), row: first + i, bytes: Buffer.byteLength(source) };
    });
  },

  batch(examples, epoch, { runtime, options, seed }) {
    const { tokenizer } = runtime;
    const share = Number(options.maskShare ?? 0.15);
    const masked = examples.map((e) => {
      const rng = new Rng('mlm', seed, epoch, e.row);
      const units = options.wholeWords ? tokenizer.words(e.text.ids) : null;
      const chosen = units ? chooseWords(units, share, rng) : chooseTokens(e.text.ids, share, tokenizer.specialIds, rng);
      return mask(e.text, chosen, tokenizer.maskId!, runtime.vocabulary, rng);
    });
    return scoredBatch(masked.map((m) => m.text), masked.map((m) => m.labels), tokenizer.padId);
  },

  loss: totalLoss,
  losses: vocabularyLosses,
  outputs: likelihoodRows,
};

export default mlm;

/** Each token that is no special one with probability `share`. */
export function chooseTokens(ids: readonly number[], share: number, special: ReadonlySet<number>, rng: Rng): Set<number> {
  return new Set(Array.from(ids.keys()).filter((i) => !special.has(ids[i]) && rng.uniform() < share));
}

/** Words in random order until max(1, round(share · n)) tokens are chosen; a word that would exceed this is passed over. */
export function chooseWords(words: readonly number[][], share: number, rng: Rng): Set<number> {
  const budget = Math.max(1, Math.round(share * words.reduce((n, w) => n + w.length, 0)));
  const chosen = new Set<number>();
  for (const word of rng.shuffle([...words])) if (chosen.size + word.length <= budget) word.forEach((i) => chosen.add(i));
  return chosen;
}

/** The text with chosen tokens replaced, and the original ids at the chosen places. */
export function mask(text: Encoded, chosen: ReadonlySet<number>, maskId: number, vocabulary: number, rng: Rng): { text: Encoded; labels: Int32Array } {
  const labels = new Int32Array(text.ids.length).fill(IGNORED);
  const ids = text.ids.map((id, i) => {
    if (!chosen.has(i)) return id;
    labels[i] = id;
    const action = rng.uniform();
    return action < 0.8 ? maskId : action < 0.9 ? rng.integer(vocabulary) : id;
  });
  return { text: { ids, types: text.types }, labels };
}
