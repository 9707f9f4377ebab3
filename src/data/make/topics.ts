import { Field, Int64, Schema, Utf8 } from 'apache-arrow';
import { Rng } from '@graft/kernels';
import { withClassLabel } from '../../formats/features.js';
import type { Row } from '../../formats/rows.js';
import { batched } from '../import/importer.js';
import type { Generator } from './generator.js';
import { sentence, SENTIMENTS, TOPICS } from './language.js';

/** Texts of the artificial language for pretraining and classification: pretrain on `plain`, adapt to `review`. */
export const topics: Generator = {
  name: 'topics',
  summary: 'texts of a small artificial language, with topics and sentiments',
  options: {
    domain: { type: 'string', describe: 'plain reports, or reviews: first person, negation, adjectives that are rare elsewhere', choices: ['plain', 'review'], default: 'plain' },
    task: { type: 'string', describe: 'what label says', choices: ['topic', 'sentiment', 'none'], default: 'topic' },
    sentences: { type: 'number', metavar: 'N', describe: 'most sentences of a text; 1 to this many', default: 3, min: 1, max: 100 },
    noise: { type: 'number', metavar: 'P', describe: 'share of the labels that are drawn at random', default: 0, min: 0, max: 1 },
  },
  make(n, seed, { domain, task, sentences, noise }) {
    const names = task === 'topic' ? TOPICS : SENTIMENTS;
    const fields = [new Field('text', new Utf8(), false), ...(task === 'none' ? [] : [new Field('label', new Int64(), false)]), new Field('domain', new Utf8(), false)];
    const schema = task === 'none' ? new Schema(fields) : withClassLabel(new Schema(fields), 'label', names);
    async function* rows(): AsyncGenerator<Row> {
      for (let i = 0; i < n; i++) {
        const rng = new Rng(seed, 'topics', domain as string, i);
        const style = { topic: rng.integer(TOPICS.length), sentiment: rng.integer(SENTIMENTS.length), review: domain === 'review' };
        const text = Array.from({ length: 1 + rng.integer(sentences as number) }, () => `${sentence(rng, style).join(' ')} .`).join(' ');
        const label = rng.uniform() < (noise as number) ? rng.integer(names.length) : task === 'topic' ? style.topic : style.sentiment;
        yield task === 'none' ? { text, domain } : { text, label, domain };
      }
    }
    return { schema, batches: batched(schema, rows()) };
  },
};
