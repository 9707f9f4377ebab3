import { crossEntropy, tf, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import { dataError } from '../errors.js';
import { padBatch } from '../data/encode.js';
import type { Encoded } from '../data/tokenizer.js';
import type { Row } from '../formats/rows.js';
import { where } from './classify.js';
import type { Example, Objective } from './objective.js';

/** A tokenised text. Tokens from `scoredFrom` on are scored. */
export interface Spoken extends Example { text: Encoded; row: number; scoredFrom: number; bytes: number }

const IGNORED = -100;

/**
 * Causal language modelling: each token is predicted from those before it. With columns `prompt` and `response` only the response and
 * the end of text are scored; with `text`, everything but the first token.
 */
const clm: Objective<Spoken> = {
  name: 'clm',
  summary: 'causal language modelling; on prompts with responses the response alone is scored',
  task: 'clm',
  kind: 'text',
  metric: { name: 'token-nll', larger: false },
  options: {},
  require: (table) => table.requireColumns(table.columns.includes('response') ? ['prompt', 'response'] : ['text']),

  async prepare(rows, first, p) {
    const { tokenizer } = p.runtime;
    return rows.map((row, i) => {
      if (row.response === undefined) {
        const text = tokenizer.encode(String(row.text), null, p.maxLength);
        return { length: text.ids.length, text, row: first + i, scoredFrom: 1, bytes: Buffer.byteLength(String(row.text)) };
      }
      const prompt = String(row.prompt ?? ''), response = String(row.response);
      // The whole is tokenised at once; a token that straddles the border belongs to the prompt.
      const all = [...tokenizer.encode(prompt + response).ids, ...(tokenizer.endId === undefined ? [] : [tokenizer.endId])];
      const border = commonPrefix(all, tokenizer.encode(prompt).ids, tokenizer.specialIds);
      const dropped = Math.min(Math.max(0, all.length - p.maxLength), border);
      const ids = all.slice(dropped, dropped + p.maxLength);
      if (ids.length <= border - dropped) throw dataError(`${where(p, first + i)}: no token of the response is left within --max-length ${p.maxLength}`);
      return { length: ids.length, text: { ids, types: ids.map(() => 0) }, row: first + i, scoredFrom: Math.max(1, border - dropped), bytes: Buffer.byteLength(response) };
    });
  },

  batch(examples, _epoch, { runtime }) {
    const inputs = padBatch(examples.map((e) => e.text), runtime.tokenizer.padId);
    const T = inputs.ids.shape[1];
    const labels = new Int32Array(examples.length * T).fill(IGNORED);
    // The logits at t predict token t + 1.
    examples.forEach((e, b) => { for (let t = e.scoredFrom; t < e.text.ids.length; t++) labels[b * T + t - 1] = e.text.ids[t]; });
    return { inputs, targets: { count: Math.max(1, labels.reduce((n, l) => n + (l === IGNORED ? 0 : 1), 0)), labels } };
  },

  loss: (logits, { labels }) => tf.sum(tokenLoss(logits, labels)),
  outputs: (logits, examples, { labels }) => likelihoodRows(logits, labels, examples),
};

export default clm;

/** How many tokens of `whole` are those of the prompt, special tokens that close it aside. */
function commonPrefix(whole: readonly number[], prompt: readonly number[], special: ReadonlySet<number>): number {
  let end = prompt.length;
  while (end > 0 && special.has(prompt[end - 1]) && whole[end - 1] !== prompt[end - 1]) end--;
  return end;
}

/** Negative log-likelihood at every position, 0 where nothing is scored: [B·T]. Only scored rows are computed. */
export function tokenLoss(logits: Tensor, labels: Int32Array): Tensor1D {
  return crossEntropy(tf.reshape(logits, [-1, logits.shape.at(-1)!]) as Tensor2D, tf.tensor1d(labels, 'int32'));
}

/** Total negative log-likelihood, scored tokens and bytes of each example. */
export function likelihoodRows(logits: Tensor, labels: Int32Array, examples: readonly Spoken[]): Row[] {
  const losses = tf.tidy(() => tokenLoss(logits, labels).dataSync());
  const T = logits.shape[1]!;
  return examples.map((e, b) => {
    let nll = 0, tokens = 0;
    for (let t = b * T; t < (b + 1) * T; t++) if (labels[t] !== IGNORED) { nll += losses[t]; tokens++; }
    return { nll, tokens, bytes: e.bytes };
  });
}
