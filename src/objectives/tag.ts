import { dataError } from '../errors.js';
import { padBatch } from '../data/encode.js';
import type { Encoded } from '../data/tokenizer.js';
import { argmax } from '../metrics/classification.js';
import { labelReader, where } from './classify.js';
import type { Example, Objective } from './objective.js';
import { classOptions, classWeights, IGNORED, totalLoss } from './scored.js';

interface Tagged extends Example { text: Encoded & { starts: number[] }; tags: number[]; weights?: number[] }

/** Token classification: the tag of a word is scored at its first sub-token, nowhere else. */
const tag: Objective<Tagged> = {
  name: 'tag',
  summary: 'one tag a word: entities, parts of speech',
  task: 'tag',
  kind: 'tags',
  metric: { name: 'span-f1', larger: true },
  options: classOptions,
  reads: () => ['tokens'],
  require: (table) => table.requireColumns(['tokens', 'tags']),

  async prepare(rows, first, p) {
    const toTag = labelReader(p, 'tags');
    return rows.map((row, i) => {
      const words = row.tokens as string[], tags = p.unlabelled && !row.tags ? words.map(() => null) : [...(row.tags as Iterable<unknown>)];
      if (words.length !== tags.length) throw dataError(`${where(p, first + i)}: ${words.length} tokens but ${tags.length} tags`);
      const text = p.runtime.tokenizer.encodeWords(words, p.maxLength);
      return { length: text.ids.length, text, tags: tags.map((t) => toTag(t, first + i)) };
    });
  },

  arrange(examples, p) {
    const weights = classWeights(examples.flatMap((e) => e.text.starts.filter((w) => w >= 0).map((w) => e.tags[w])), p);
    return weights ? examples.map((e) => ({ ...e, weights: e.tags.map((t) => weights[t]) })) : examples;
  },

  batch(examples, _epoch, { runtime }) {
    const inputs = padBatch(examples.map((e) => e.text), runtime.tokenizer.padId);
    const T = inputs.ids.shape[1];
    const labels = new Int32Array(examples.length * T).fill(IGNORED);
    const weights = examples[0].weights && new Float32Array(labels.length);
    let count = 0;
    examples.forEach((e, b) => e.text.starts.forEach((w, t) => {
      if (w < 0) return;
      labels[b * T + t] = e.tags[w];
      count += e.weights?.[w] ?? 1;
      if (weights) weights[b * T + t] = e.weights![w];
    }));
    return { inputs, targets: { count, labels, weights } };
  },

  loss: totalLoss,

  outputs(logits, examples, _targets, { runtime }) {
    const names = runtime.head!.labels!, [, T, C] = logits.shape as [number, number, number], z = logits.dataSync() as Float32Array;
    return examples.map((e, b) => {
      // Words beyond the longest input get no prediction of their own: they count as outside.
      const predicted = e.tags.map(() => 'O');
      e.text.starts.forEach((w, t) => { if (w >= 0) predicted[w] = names[argmax(z.subarray((b * T + t) * C, (b * T + t + 1) * C))]; });
      return { pred_tags: predicted, tags: e.tags.includes(IGNORED) ? null : e.tags.map((t) => names[t]) };
    });
  },
};

export default tag;
