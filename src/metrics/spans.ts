import { dataError } from '../errors.js';
import type { LabelSet, Metric, TagPrediction } from './metric.js';

export interface Span { type: string; start: number; /** inclusive */ end: number }

/**
 * Chunks of a tag sequence, as conlleval and seqeval's default find them: a chunk starts at B or S, or at I or E after O or
 * another type; it ends before O, B, S, after E or S, or where the type changes.
 */
export function spans(tags: readonly string[]): Span[] {
  const found: Span[] = [];
  let open: Span | null = null;
  tags.forEach((tag, i) => {
    const prefix = tag[0];
    const type = tag.includes('-') ? tag.slice(tag.indexOf('-') + 1) : '_';
    if (tag === 'O' || tag === '') { open = null; return; }
    if (open === null || prefix === 'B' || prefix === 'S' || open.type !== type) found.push((open = { type, start: i, end: i }));
    else open.end = i;
    if (prefix === 'E' || prefix === 'S') open = null;
  });
  return found;
}

/** Entity types there is room for where the tags have no names: predictions made elsewhere. */
const UNNAMED = 256;

/** The place of an entity type: in the order of the tag names or, without these, of their appearance. */
function placeOf(labels: LabelSet, type: string): number {
  labels.types ??= new Map(types(labels).map((t, i) => [t, i]));
  const known = labels.types.get(type);
  if (known !== undefined) return known;
  if (labels.names.length > 0) throw dataError(`entity type '${type}' is none of ${types(labels).join(', ')}`);
  if (labels.types.size === UNNAMED) throw dataError(`more than ${UNNAMED} entity types, '${type}' among them: are these tags?`);
  labels.types.set(type, labels.types.size);
  return labels.types.size - 1;
}

const types = ({ names }: LabelSet): string[] => [...new Set(names.filter((t) => t !== 'O').map((t) => (t.includes('-') ? t.slice(t.indexOf('-') + 1) : '_')))];

/** Per type: spans right, predicted, gold. */
const counts: Metric['add'] = (row, sums, weight, labels) => {
  const { predicted, gold } = row as TagPrediction;
  const key = (s: Span): string => `${s.type} ${s.start} ${s.end}`;
  const truth = spans(gold);
  const wanted = new Set(truth.map(key));
  for (const s of truth) sums[3 * placeOf(labels, s.type) + 2] += weight;
  for (const s of spans(predicted)) {
    sums[3 * placeOf(labels, s.type) + 1] += weight;
    if (wanted.has(key(s))) sums[3 * placeOf(labels, s.type)] += weight;
  }
};

const pooled = (sums: Float64Array): [number, number, number] => {
  const t: [number, number, number] = [0, 0, 0];
  for (let i = 0; i < sums.length; i++) t[i % 3] += sums[i];
  return t;
};

const ratio = (a: number, b: number): number => (b > 0 ? a / b : 0);

const overSpans = (name: string, summary: string, value: (sums: Float64Array) => number): Metric =>
  ({ name, summary, kind: 'tags', size: (labels) => 3 * (labels.names.length > 0 ? types(labels).length : UNNAMED), add: counts, value });

/** Micro F1 over all chunks: equal type, start and end. */
export const spanF1 = overSpans('span-f1', 'micro F1 of the spans (seqeval, conlleval)', (sums) => {
  const [right, predicted, gold] = pooled(sums);
  return ratio(2 * right, predicted + gold);
});

export const spanPrecision = overSpans('span-precision', 'predicted spans that are right', (sums) => ratio(pooled(sums)[0], pooled(sums)[1]));

export const spanRecall = overSpans('span-recall', 'spans that were found', (sums) => ratio(pooled(sums)[0], pooled(sums)[2]));

/** Unweighted mean over the types that occur as truth or prediction. */
export const spanMacroF1 = overSpans('span-macro-f1', 'mean of the types\' span F1', (sums) => {
  let n = 0, f = 0;
  for (let t = 0; t < sums.length; t += 3) {
    if (sums[t + 1] + sums[t + 2] === 0) continue;
    n++;
    f += ratio(2 * sums[t], sums[t + 1] + sums[t + 2]);
  }
  return f / n;
});

export const tagAccuracy: Metric = {
  name: 'tag-accuracy', summary: 'words with the right tag', kind: 'tags', size: () => 2,
  add: (row, sums, weight) => {
    const { predicted, gold } = row as TagPrediction;
    gold.forEach((t, i) => { sums[0] += t === predicted[i] ? weight : 0; sums[1] += weight; });
  },
  value: (sums) => sums[0] / sums[1],
};
