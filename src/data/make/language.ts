import { Rng } from '@graft/kernels';

/**
 * A small artificial language: a lexicon of pronounceable words in classes, and a grammar of simple sentences. Nouns and
 * verbs belong to topics, adjectives to a sentiment, so that words of a class keep company and a language model can learn the
 * classes from text alone. The lexicon is the same for every seed: data of different seeds speak one language.
 */
export const TOPICS = ['harvest', 'harbour', 'market', 'music', 'weather', 'court'] as const;
export const SENTIMENTS = ['negative', 'positive'] as const;

const CONSONANTS = ['b', 'd', 'f', 'g', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'z', 'br', 'st', 'tr', 'pl'];
const VOWELS = ['a', 'e', 'i', 'o', 'u', 'ai', 'ou'];
const ENDINGS = ['', '', 'n', 'r', 's', 'l', 'm'];

/** Words by class. The first words of a class are the most frequent. */
export interface Lexicon {
  /** By topic. */
  nouns: string[][];
  verbs: string[][];
  /** Nouns and verbs of no topic. */
  plainNouns: string[];
  plainVerbs: string[];
  /** By sentiment. Those of reviews are rare elsewhere. */
  adjectives: string[][];
  reviewAdjectives: string[][];
  plainAdjectives: string[];
  determiners: string[];
  prepositions: string[];
  conjunctions: string[];
  adverbs: string[];
  is: string;
  not: string;
  i: string;
  /** Names, by what they name. */
  people: string[];
  surnames: string[];
  places: string[];
  companies: string[];
  firm: string;
}

export const LEXICON = makeLexicon();

function makeLexicon(): Lexicon {
  const rng = new Rng('lexicon');
  const used = new Set<string>();
  const pick = (from: string[]): string => from[rng.integer(from.length)];
  const word = (syllables: number): string => {
    for (;;) {
      const w = Array.from({ length: syllables }, () => pick(CONSONANTS) + pick(VOWELS)).join('') + pick(ENDINGS);
      if (!used.has(w) && used.add(w)) return w;
    }
  };
  const words = (n: number, syllables = 2): string[] => Array.from({ length: n }, () => word(syllables));
  return {
    nouns: TOPICS.map(() => words(16)), verbs: TOPICS.map(() => words(6)), plainNouns: words(12), plainVerbs: words(10),
    adjectives: SENTIMENTS.map(() => words(10)), reviewAdjectives: SENTIMENTS.map(() => words(10)), plainAdjectives: words(10),
    determiners: words(4, 1), prepositions: words(5, 1), conjunctions: words(3, 1), adverbs: words(6),
    is: word(1), not: word(1), i: word(1),
    people: words(24), surnames: words(24, 3), places: words(24, 3), companies: words(16, 3), firm: word(2),
  };
}

export interface Style {
  topic: number;
  sentiment: number;
  /** Reviews speak in the first person, negate, and have adjectives of their own. */
  review: boolean;
}

/** Stands where a noun phrase may be replaced by a name. */
export type Phrase = 'subject' | 'object' | 'after preposition';

/** Words of one sentence, without punctuation. @param phrase makes the noun phrases; by default a determiner, adjectives and a noun */
export function sentence(rng: Rng, style: Style, phrase = (_: Phrase): string[] => nounPhrase(rng, style)): string[] {
  const words = clause(rng, style, phrase);
  if (rng.uniform() < 0.25) words.push(zipf(rng, LEXICON.conjunctions), ...clause(rng, style, phrase));
  return words;
}

function clause(rng: Rng, style: Style, phrase: (at: Phrase) => string[]): string[] {
  const u = rng.uniform();
  if (style.review && u < 0.3) return [LEXICON.i, ...verbPhrase(rng, style), ...phrase('object')];
  if (u < (style.review ? 0.75 : 0.35)) return [...phrase('subject'), LEXICON.is, ...opinion(rng, style)];
  const rest = rng.uniform() < 0.4 ? [zipf(rng, LEXICON.prepositions), ...phrase('after preposition')] : [];
  return [...phrase('subject'), ...verbPhrase(rng, style), ...phrase('object'), ...rest];
}

function verbPhrase(rng: Rng, { topic }: Style): string[] {
  const verb = zipf(rng, rng.uniform() < 0.6 ? LEXICON.verbs[topic] : LEXICON.plainVerbs);
  return rng.uniform() < 0.2 ? [zipf(rng, LEXICON.adverbs), verb] : [verb];
}

/** The sentiment in an adjective; reviews sometimes say it by negating its contrary, which a bag of words cannot tell. */
function opinion(rng: Rng, { sentiment, review }: Style): string[] {
  const own = review ? rng.uniform() < 0.7 : rng.uniform() < 0.05;
  const adjectives = own ? LEXICON.reviewAdjectives : LEXICON.adjectives;
  return review && rng.uniform() < 0.25 ? [LEXICON.not, zipf(rng, adjectives[1 - sentiment])] : [zipf(rng, adjectives[sentiment])];
}

export function nounPhrase(rng: Rng, { topic }: Style): string[] {
  const noun = zipf(rng, rng.uniform() < 0.7 ? LEXICON.nouns[topic] : LEXICON.plainNouns);
  const adjective = rng.uniform() < 0.2 ? [zipf(rng, LEXICON.plainAdjectives)] : [];
  return [zipf(rng, LEXICON.determiners), ...adjective, noun];
}

/** The k-th word with a probability in proportion to 1/k. */
export function zipf(rng: Rng, words: readonly string[]): string {
  let total = 0;
  for (let k = 1; k <= words.length; k++) total += 1 / k;
  let u = rng.uniform(0, total);
  for (let k = 0; k < words.length - 1; k++) if ((u -= 1 / (k + 1)) < 0) return words[k];
  return words[words.length - 1];
}
