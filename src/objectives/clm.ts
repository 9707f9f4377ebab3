import { usageError } from '../errors.js';
import type { Encoded, Tokenizer } from '../data/tokenizer.js';
import { textOf } from './classify.js';
import type { Objective, Preparation } from './objective.js';
import { IGNORED, likelihoodRows, scoredBatch, totalLoss, vocabularyLosses, type Spoken } from './scored.js';
import { TEMPLATES } from './templates.js';

/**
 * Causal language modelling, −Σ ln p(x_t | x_<t): everything but the first token of a `text`, or only the `response` to a prompt and the
 * end of text after it. Labels lie at their own token here and are shifted when a batch is made.
 */
const clm: Objective<Spoken> = {
  name: 'clm',
  summary: 'causal language modelling; of prompts with responses the response alone is scored',
  task: 'clm',
  kind: 'text',
  metric: { name: 'token-nll', larger: false },
  options: {
    template: { type: 'string', choices: Object.keys(TEMPLATES), describe: 'how columns become a prompt; default: plain where there is a response' },
    pack: { type: 'boolean', default: false, describe: 'join texts, each closed by the end of text, and cut blocks of --max-length tokens' },
  },
  require: (table, options) => table.requireColumns(options.template || table.columns.includes('response') ? TEMPLATES[String(options.template ?? 'plain')].columns : ['text']),

  async prepare(rows, first, p) {
    const { tokenizer } = p.runtime;
    const template = p.options.template || p.table.columns.includes('response') ? TEMPLATES[String(p.options.template ?? 'plain')] : null;
    return rows.map((row, i) => {
      const scored = textOf(row, template ? 'response' : 'text', p, first + i);
      const spoken = template ? answer(tokenizer, template.prompt(row), scored) : whole(tokenizer, scored, p.options.pack === true);
      const { ids, labels } = p.options.pack ? spoken : shorten(spoken, p.maxLength);
      return { length: ids.length, text: encoded(ids), labels: Int32Array.from(labels), row: first + i, bytes: Buffer.byteLength(scored) };
    });
  },

  arrange: (examples, p) => (p.options.pack ? blocks(examples, p) : examples).filter((e) => e.labels.some((l, t) => t > 0 && l !== IGNORED)),

  // The logits at t predict token t + 1.
  batch: (examples, _epoch, { runtime }) => scoredBatch(examples.map((e) => e.text), examples.map((e) => e.labels.subarray(1)), runtime.tokenizer.padId),
  loss: totalLoss,
  losses: vocabularyLosses,
  outputs: likelihoodRows,
};

export default clm;

interface Labelled { ids: number[]; labels: number[] }

const encoded = (ids: number[]): Encoded => ({ ids, types: ids.map(() => 0) });

/** With the end of text, where the tokeniser has one and did not write it itself. */
const closed = (ids: number[], { endId }: Tokenizer): number[] => (endId === undefined || ids.at(-1) === endId ? ids : [...ids, endId]);

function whole(tokenizer: Tokenizer, text: string, pack: boolean): Labelled {
  const { ids } = tokenizer.encode(text, null, Infinity);
  const all = pack ? closed(ids, tokenizer) : ids;
  return { ids: all, labels: all };
}

/** Prompt and response are tokenised as one text, as the model will meet them; a token across the border belongs to the prompt. */
function answer(tokenizer: Tokenizer, prompt: string, response: string): Labelled {
  const ids = closed(tokenizer.encode(prompt + response, null, Infinity).ids, tokenizer);
  // Measured in text as the tokeniser spells it, which may differ from what was given.
  const border = borderOf(tokenizer, ids, tokenizer.surface(tokenizer.plain(prompt)).length);
  return { ids, labels: ids.map((id, t) => (t < border ? IGNORED : id)) };
}

/** The first token of a tokenised text that lies wholly behind its first `start` characters. A token begins where the text of those before it ends. */
export function borderOf(tokenizer: Pick<Tokenizer, 'surface'>, ids: readonly number[], start: number): number {
  let low = 0, high = ids.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tokenizer.surface(ids.slice(0, middle)).length >= start) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Too long a text loses the beginning of its prompt first, then its end. */
function shorten({ ids, labels }: Labelled, maxLength: number): Labelled {
  const prompt = labels.findIndex((l) => l !== IGNORED);
  const from = Math.min(Math.max(0, ids.length - maxLength), Math.max(0, prompt));
  return { ids: ids.slice(from, from + maxLength), labels: labels.slice(from, from + maxLength) };
}

/** Blocks of equal length; what is left over at the end is dropped unless there is nothing else. */
function blocks(examples: readonly Spoken[], { maxLength, runtime }: Preparation): Spoken[] {
  if (!Number.isFinite(maxLength)) throw usageError('--pack needs --max-length: the tokeniser states none');
  if (runtime.tokenizer.endId === undefined) throw usageError('--pack: the tokeniser has no end-of-text token to separate texts');
  const ids = examples.flatMap((e) => e.text.ids), labels = examples.flatMap((e) => [...e.labels]);
  const count = Math.max(1, Math.floor(ids.length / maxLength));
  return Array.from({ length: count }, (_, b) => {
    const at = (list: number[]): number[] => list.slice(b * maxLength, (b + 1) * maxLength);
    return { length: at(ids).length, text: encoded(at(ids)), labels: Int32Array.from(at(labels)), row: b, bytes: 0 };
  });
}
