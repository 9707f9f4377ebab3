import { dataError } from '../errors.js';
import { padBatch } from '../data/encode.js';
import { fittedPixels, rawShape, tensorOf, type Pixels } from '../data/image-input.js';
import type { Encoded } from '../data/tokenizer.js';
import { classIndex } from '../formats/features.js';
import type { Row } from '../formats/rows.js';
import type { Example, Objective, Preparation } from './objective.js';
import { classOptions, classWeights, IGNORED, totalLoss } from './scored.js';

interface Labelled extends Example { label: number; weight?: number; text?: Encoded; image?: Pixels }

/** Cross-entropy of one label a row, for texts (`text`, `text_pair`) and images (`image`). */
const classify: Objective<Labelled> = {
  name: 'classify',
  summary: 'one label a row: text or image classification',
  task: 'classify',
  kind: 'class',
  metric: { name: 'accuracy', larger: true },
  options: classOptions,
  reads: (table) => [table.columns.includes('image') ? 'image' : 'text'],
  require: (table) => table.requireColumns([...classify.reads!(table), 'label']),

  async prepare(rows, first, p) {
    const { runtime, table, maxLength } = p;
    const toLabel = labelReader(p);
    if (runtime.model.input === 'image') {
      const shape = rawShape(table.schema.fields.find((f) => f.name === 'image')?.metadata);
      return Promise.all(rows.map(async (row, i) => ({ length: 1, label: toLabel(row.label, first + i), image: await fittedPixels(row.image, shape, runtime.model.imageSize ?? null, where(p, first + i)) })));
    }
    return rows.map((row, i) => {
      const text = runtime.tokenizer.encode(textOf(row, 'text', p, first + i), row.text_pair as string | undefined, maxLength);
      return { length: text.ids.length, label: toLabel(row.label, first + i), text };
    });
  },

  arrange(examples, p) {
    const weights = classWeights(examples.map((e) => e.label), p);
    return weights ? examples.map((e) => ({ ...e, weight: weights[e.label] })) : examples;
  },

  batch(examples, _epoch, { runtime }) {
    const labels = Int32Array.from(examples, (e) => e.label);
    const weights = examples[0].weight === undefined ? undefined : Float32Array.from(examples, (e) => e.weight!);
    const inputs = examples[0].image ? tensorOf(examples.map((e) => e.image!)) : padBatch(examples.map((e) => e.text!), runtime.tokenizer.padId);
    return { inputs, targets: { count: weights ? weights.reduce((a, b) => a + b) : examples.length, labels, weights } };
  },

  loss: totalLoss,

  outputs(logits, examples) {
    const C = logits.shape[1]!, z = logits.dataSync() as Float32Array;
    return examples.map((e, i) => ({ logits: z.slice(i * C, (i + 1) * C), label: e.label }));
  },
};

export default classify;

export const where = ({ table }: Preparation, row: number): string => `${table.name}: row ${row + 1}`;

/** A column's text. @throws GraftError (65) naming the row where there is none */
export function textOf(row: Row, column: string, p: Preparation, number: number): string {
  const value = row[column];
  if (typeof value !== 'string') throw dataError(`${where(p, number)}: ${column} is ${value === null || value === undefined ? 'missing' : `${JSON.stringify(value)}, no text`}`);
  return value;
}

/** Labels as class indices of the head: numbers, or names that the data or the head knows; IGNORED for none where rows are only predicted. */
export function labelReader(p: Preparation, column = 'label'): (value: unknown, row: number) => number {
  const classes = p.runtime.head!.labels!;
  const names = p.table.classNames(column);
  const indexOf = classIndex(classes, names);
  const otherNumbers = !names && classes.every((c) => /^-?\d+$/.test(c)) && classes.some((c, i) => c !== String(i));
  return (value, row) => {
    const label = indexOf(value), ambiguous = otherNumbers && typeof value === 'number';
    if (p.unlabelled) return label < 0 || ambiguous ? IGNORED : label;
    if (ambiguous) throw dataError(`${where(p, row)}: ${column} ${value} may be the class called ${value} or the one at ${value} of ${classes.slice(0, 5).join(', ')}: write names as text ("${value}"), or graft data import --labels-from`);
    if (label < 0) throw dataError(`${where(p, row)}: ${column} ${JSON.stringify((typeof value === 'number' ? names?.[value] : undefined) ?? value)} is none of the head's ${classes.length} classes (${classes.slice(0, 5).join(', ')}${classes.length > 5 ? ', …' : ''})`);
    return label;
  };
}
