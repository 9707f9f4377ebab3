import { Field, Int64, List, Schema, Utf8 } from 'apache-arrow';
import { Rng } from '@graft/kernels';
import { withClassLabel } from '../../formats/features.js';
import type { Row } from '../../formats/rows.js';
import { batched } from '../import/importer.js';
import type { Generator } from './generator.js';
import { LEXICON, nounPhrase, sentence, SENTIMENTS, TOPICS, zipf, type Phrase, type Style } from './language.js';

const TAGS = ['O', 'B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'B-LOC', 'I-LOC'];

/** Sentences of the artificial language with names of people, companies and places, tagged B-, I- and O. */
export const entities: Generator = {
  name: 'entities',
  summary: 'tagged sentences of the same language: people, companies and places',
  options: {
    domain: { type: 'string', describe: 'as for topics', choices: ['plain', 'review'], default: 'plain' },
  },
  make(n, seed, { domain }) {
    const list = (item: Utf8 | Int64): List => new List(new Field('item', item as never, false));
    const schema = withClassLabel(new Schema([new Field('tokens', list(new Utf8()), false), new Field('tags', list(new Int64()), false)]), 'tags', TAGS);
    async function* rows(): AsyncGenerator<Row> {
      for (let i = 0; i < n; i++) {
        const rng = new Rng(seed, 'entities', domain as string, i);
        yield tagged(rng, { topic: rng.integer(TOPICS.length), sentiment: rng.integer(SENTIMENTS.length), review: domain === 'review' });
      }
    }
    return { schema, batches: batched(schema, rows()) };
  },
};

function tagged(rng: Rng, style: Style): Row {
  // Names are marked by their kind until the sentence is whole; a word is in one class only, so that no other word looks like a mark.
  const words = sentence(rng, style, (at) => {
    const u = rng.uniform();
    return u < 0.45 ? name(rng, kindOf(at, rng)) : nounPhrase(rng, style);
  });
  const tokens: string[] = [], tags: number[] = [];
  for (const word of [...words, '.']) {
    const [text, tag] = word.split('/');
    tokens.push(text);
    tags.push(TAGS.indexOf(tag ?? 'O'));
  }
  return { tokens, tags };
}

/** Places follow prepositions, people act more often than companies do. */
function kindOf(at: Phrase, rng: Rng): 'PER' | 'ORG' | 'LOC' {
  if (at === 'after preposition') return rng.uniform() < 0.85 ? 'LOC' : 'ORG';
  return rng.uniform() < (at === 'subject' ? 0.7 : 0.4) ? 'PER' : 'ORG';
}

/** A name in one or two words, each `word/tag`. */
function name(rng: Rng, kind: 'PER' | 'ORG' | 'LOC'): string[] {
  const first = kind === 'PER' ? LEXICON.people : kind === 'LOC' ? LEXICON.places : LEXICON.companies;
  // A surname is also what some companies are called: only their second word tells.
  const words = kind === 'ORG' && rng.uniform() < 0.4 ? [zipf(rng, LEXICON.surnames), LEXICON.firm] : [zipf(rng, first)];
  if (kind === 'PER' && rng.uniform() < 0.5) words.push(zipf(rng, LEXICON.surnames));
  if (kind === 'LOC' && rng.uniform() < 0.15) words.push(zipf(rng, LEXICON.places));
  return words.map((w, i) => `${w}/${i === 0 ? 'B' : 'I'}-${kind}`);
}
