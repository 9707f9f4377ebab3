import { Field, List, Schema, Utf8 } from 'apache-arrow';
import { dataError } from '../../errors.js';
import type { Row } from '../../formats/rows.js';
import { batched, eachInput, type Importer } from './importer.js';
import type { ImportInput } from './input.js';
import { encodingOption, readLines, type Encoding } from './lines.js';

const texts = (name: string): Field => new Field(name, new List(new Field('item', new Utf8(), true)), true);

export const conll: Importer = {
  name: 'conll',
  summary: 'one token a line with its tags in columns, sentences separated by blank lines',
  extensions: ['.conll', '.bio', '.iob', '.iob2'],
  options: {
    fields: { type: 'string', metavar: 'NAME,...', describe: 'names of the columns, - for one to leave out; default: first tokens, last tags' },
    separator: { type: 'string', metavar: 'TEXT', describe: 'what separates the columns; default: blanks and tabs' },
    ...encodingOption,
  },
  async read(inputs, options) {
    const names = (options.fields as string | undefined)?.split(',') ?? null;
    const kept = (names ?? ['tokens', 'tags']).filter((n) => n !== '-');
    const schema = new Schema(kept.map(texts));
    const split = (line: string): string[] => (options.separator ? line.split(options.separator as string) : line.trim().split(/[ \t]+/));
    const rows = eachInput(inputs, (input) => sentences(input, options.encoding as Encoding, (lines) => sentence(input, lines, split, names)));
    return { schema, batches: batched(schema, rows) };
  },
};

interface Line { text: string; number: number }

/** Sentences as `make` reads them from their lines. */
async function* sentences(input: ImportInput, encoding: Encoding, make: (lines: Line[]) => Row | null): AsyncGenerator<Row> {
  let held: Line[] = [];
  for await (const { lines, first } of readLines(input.name, input.bytes(), encoding)) {
    for (let i = 0; i < lines.length; i++) {
      if (lines[i].trim() !== '') held.push({ text: lines[i], number: first + i });
      else if (held.length > 0) {
        const row = make(held);
        if (row) yield row;
        held = [];
      }
    }
  }
  const last = held.length > 0 ? make(held) : null;
  if (last) yield last;
}

function sentence(input: ImportInput, lines: Line[], split: (line: string) => string[], names: string[] | null): Row | null {
  const tokens = lines.filter((l) => !l.text.startsWith('-DOCSTART-'));
  if (tokens.length === 0) return null;
  const width = split(tokens[0].text).length;
  const row: Record<string, string[]> = {};
  const columns = names ?? ['tokens', ...Array<string>(Math.max(0, width - 2)).fill('-'), 'tags'];
  for (const { text, number } of tokens) {
    const fields = split(text);
    if (fields.length !== columns.length) throw dataError(`${input.name}:${number}: has ${fields.length} columns where ${columns.length} are expected`);
    columns.forEach((name, i) => { if (name !== '-') (row[name] ??= []).push(fields[i]); });
  }
  return row;
}

/** The ten columns of CoNLL-U. */
const FIELDS = ['id', 'form', 'lemma', 'upos', 'xpos', 'feats', 'head', 'deprel', 'deps', 'misc'] as const;

export const conllu: Importer = {
  name: 'conllu',
  summary: 'Universal Dependencies treebanks: words and their tags, one sentence a row',
  extensions: ['.conllu'],
  options: {
    tags: { type: 'string', describe: 'the column that becomes tags', choices: FIELDS.slice(2), default: 'upos' },
    trees: { type: 'boolean', describe: 'write the columns lemmas, heads and deprels too', default: false },
    ...encodingOption,
  },
  async read(inputs, options) {
    const lists = { tokens: 'form', tags: options.tags as string, ...(options.trees ? { lemmas: 'lemma', heads: 'head', deprels: 'deprel' } : {}) };
    const schema = new Schema([new Field('id', new Utf8(), true), new Field('text', new Utf8(), true), ...Object.keys(lists).map(texts)]);
    const rows = eachInput(inputs, (input) => sentences(input, options.encoding as Encoding, (lines) => tree(input, lines, lists)));
    return { schema, batches: batched(schema, rows) };
  },
};

function tree(input: ImportInput, lines: Line[], lists: Record<string, string>): Row | null {
  const row: Row = { id: null, text: null, ...Object.fromEntries(Object.keys(lists).map((n) => [n, []])) };
  for (const { text, number } of lines) {
    if (text.startsWith('#')) {
      const [, key, value] = /^#\s*(sent_id|text)\s*=\s*(.*)$/.exec(text) ?? [];
      if (key) row[key === 'text' ? 'text' : 'id'] = value;
      continue;
    }
    const fields = text.split('\t');
    if (fields.length !== FIELDS.length) throw dataError(`${input.name}:${number}: has ${fields.length} columns where CoNLL-U has ${FIELDS.length}`);
    // Ranges (multiword tokens) and decimals (empty nodes) are not words.
    if (!/^\d+$/.test(fields[0])) continue;
    for (const [name, field] of Object.entries(lists)) (row[name] as string[]).push(fields[FIELDS.indexOf(field as (typeof FIELDS)[number])]);
  }
  return (row.tokens as string[]).length > 0 ? row : null;
}
