import { Rng, tf } from '@graft/kernels';
import { usageError } from '../errors.js';
import { padBatch } from '../data/encode.js';
import type { Encoded } from '../data/tokenizer.js';
import { likelihoodRows, tokenLoss, type Spoken } from './clm.js';
import type { Objective } from './objective.js';

const IGNORED = -100;

/**
 * Masked language modelling (Devlin et al., 2019): each token is chosen with probability p; of the chosen, 80 % become [MASK], 10 % a
 * random token, 10 % stay. Masks are drawn anew each epoch from (seed, epoch, row).
 */
const mlm: Objective<Spoken> = {
  name: 'mlm',
  summary: 'masked language modelling',
  task: 'mlm',
  kind: 'text',
  metric: { name: 'token-nll', larger: false },
  options: { maskShare: { type: 'number', metavar: 'P', describe: 'probability that a token is chosen', default: 0.15, min: 0, max: 1 } },
  require: (table) => table.requireColumns(['text']),

  async prepare(rows, first, { runtime, maxLength }) {
    const { tokenizer } = runtime;
    if (tokenizer.maskId === undefined) throw usageError('mlm: the tokeniser has no mask token');
    return rows.map((row, i) => {
      const text = tokenizer.encode(String(row.text), null, maxLength);
      return { length: text.ids.length, text, row: first + i, scoredFrom: 0, bytes: Buffer.byteLength(String(row.text)) };
    });
  },

  batch(examples, epoch, { runtime, options, seed }) {
    const { tokenizer } = runtime, V = runtime.vocabulary;
    const share = Number(options.maskShare ?? 0.15);
    const marked = examples.map((e) => mask(e.text, share, tokenizer.maskId!, tokenizer.specialIds, V, new Rng('mlm', seed, epoch, e.row)));
    const inputs = padBatch(marked.map((m) => m.text), tokenizer.padId);
    const T = inputs.ids.shape[1];
    const labels = new Int32Array(examples.length * T).fill(IGNORED);
    marked.forEach((m, b) => labels.set(m.labels, b * T));
    return { inputs, targets: { count: Math.max(1, labels.reduce((n, l) => n + (l === IGNORED ? 0 : 1), 0)), labels } };
  },

  loss: (logits, { labels }) => tf.sum(tokenLoss(logits, labels)),
  outputs: (logits, examples, { labels }) => likelihoodRows(logits, labels, examples),
};

export default mlm;

/** The text with chosen tokens replaced, and the original ids at the chosen places. */
export function mask(text: Encoded, share: number, maskId: number, special: ReadonlySet<number>, V: number, rng: Rng): { text: Encoded; labels: Int32Array } {
  const labels = new Int32Array(text.ids.length).fill(IGNORED);
  const ids = text.ids.map((id, i) => {
    if (special.has(id) || rng.uniform() >= share) return id;
    labels[i] = id;
    const action = rng.uniform();
    return action < 0.8 ? maskId : action < 0.9 ? rng.integer(V) : id;
  });
  return { text: { ids, types: text.types }, labels };
}
