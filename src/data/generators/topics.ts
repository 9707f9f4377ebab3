import { Rng } from '@graft/kernels/random';

/** A small language: every text is about one topic, in sentences of one grammar, with words that topics share to different degrees. */
export const TOPICS = ['harvest', 'weather', 'trade', 'voyage', 'kitchen', 'music'];

const PARTS = { noun: 30, verb: 14, adjective: 14 } as const; // words of each topic's own
const SHARED = { noun: 40, verb: 20, adjective: 20, adverb: 12, preposition: 6, determiner: 4 } as const;
const OWN_SHARE = 0.5; // how often a content word is one of the topic's own
type Part = keyof typeof SHARED;

interface Lexicon { own: Record<keyof typeof PARTS, string[]>[]; shared: Record<Part, string[]> }

/** The words of the language, the same for every seed of the texts. */
export function lexicon(): Lexicon & { words: string[] } {
  const rng = new Rng('topics', 'lexicon');
  const seen = new Set<string>();
  const word = (): string => {
    for (;;) {
      const syllables = 2 + rng.integer(2);
      let text = '';
      for (let i = 0; i < syllables; i++) text += 'bdfgklmnprstvz'[rng.integer(14)] + 'aeiou'[rng.integer(5)];
      if (seen.has(text)) continue;
      seen.add(text);
      return text;
    }
  };
  const list = (n: number): string[] => Array.from({ length: n }, word);
  const group = <P extends string>(counts: Record<P, number>): Record<P, string[]> => Object.fromEntries(Object.entries<number>(counts).map(([part, n]) => [part, list(n)])) as Record<P, string[]>;
  const shared = group(SHARED), own = TOPICS.map(() => group(PARTS));
  return { own, shared, words: [...seen] };
}

/** n texts with the index of their topic, balanced and shuffled. */
export function* topics(n: number, seed: number): Generator<{ text: string; label: number }> {
  const words = lexicon();
  const labels = new Rng('topics', seed, 'labels').shuffle(Array.from({ length: n }, (_, i) => i % TOPICS.length));
  for (let i = 0; i < n; i++) yield { text: story(labels[i], words, new Rng('topics', seed, i)), label: labels[i] };
}

/** Who acts, on whom or what, and where: a noun and its adjectives, which only the place in the sentence tells apart. */
export const ROLES = ['AGENT', 'PATIENT', 'PLACE'] as const;
export const ROLE_TAGS = ['O', ...ROLES.flatMap((r) => [`B-${r}`, `I-${r}`])];

/** n sentences of the language with the roles of their phrases, as indices of ROLE_TAGS. */
export function* roles(n: number, seed: number): Generator<{ tokens: string[]; tags: number[] }> {
  const words = lexicon();
  for (let i = 0; i < n; i++) {
    const rng = new Rng('roles', seed, i);
    const tagged = sentence(rng.integer(TOPICS.length), words, rng);
    yield { tokens: tagged.map((w) => w.text), tags: tagged.map((w) => ROLE_TAGS.indexOf(w.tag)) };
  }
}

interface Word { text: string; tag: string }

/** Two or three sentences about one topic. */
function story(topic: number, words: Lexicon, rng: Rng): string {
  return Array.from({ length: 2 + rng.integer(2) }, () => sentence(topic, words, rng)).flat().map((w) => w.text).join(' ');
}

/** [adverb] determiner adjective* noun verb determiner adjective* noun [preposition determiner adjective* noun] */
function sentence(topic: number, { own, shared }: Lexicon, rng: Rng): Word[] {
  const zipf = (list: string[]): string => list[Math.floor(list.length ** rng.uniform()) - 1] ?? list[0];
  const content = (part: keyof typeof PARTS): string => zipf(rng.uniform() < OWN_SHARE ? own[topic][part] : shared[part]);
  const plain = (text: string): Word => ({ text, tag: 'O' });
  const phrase = (role: (typeof ROLES)[number]): Word[] => {
    const determiner = plain(zipf(shared.determiner));
    const named = [...(rng.uniform() < 0.5 ? [content('adjective')] : []), content('noun')];
    return [determiner, ...named.map((text, i) => ({ text, tag: `${i === 0 ? 'B' : 'I'}-${role}` }))];
  };
  return [
    ...(rng.uniform() < 0.3 ? [plain(zipf(shared.adverb))] : []),
    ...phrase('AGENT'), plain(content('verb')), ...phrase('PATIENT'),
    ...(rng.uniform() < 0.5 ? [plain(zipf(shared.preposition)), ...phrase('PLACE')] : []),
  ];
}

/** A tokenizer.json of whole words in BERT's frame. */
export function wordTokenizer(words: readonly string[]): object {
  const specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  const frame = (id: string, type: number): object => ({ SpecialToken: { id, type_id: type } });
  const part = (id: string, type: number): object => ({ Sequence: { id, type_id: type } });
  return {
    version: '1.0', truncation: null, padding: null,
    added_tokens: specials.map((content, id) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
    normalizer: { type: 'Lowercase' }, pre_tokenizer: { type: 'Whitespace' }, decoder: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [frame('[CLS]', 0), part('A', 0), frame('[SEP]', 0)],
      pair: [frame('[CLS]', 0), part('A', 0), frame('[SEP]', 0), part('B', 1), frame('[SEP]', 1)],
      special_tokens: Object.fromEntries([2, 3].map((id) => [specials[id], { id: specials[id], ids: [id], tokens: [specials[id]] }])),
    },
    model: { type: 'WordLevel', vocab: Object.fromEntries([...specials, ...words].map((w, i) => [w, i])), unk_token: '[UNK]' },
  };
}
