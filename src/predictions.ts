import { Binary, Bool, Field, Float32, Float64, Int32, List, Schema, Utf8, type RecordBatch } from 'apache-arrow';
import { dataError } from './errors.js';
import { featuresOf, withClassLabel, withFeatures } from './formats/features.js';
import { parseJson } from './formats/json.js';
import { batchOf, isTrue, type Row } from './formats/rows.js';
import type { Table } from './formats/table.js';
import { argmax } from './metrics/classification.js';
import type { Prediction } from './metrics/metric.js';
import { UNLABELLED } from './metrics/segmentation.js';

/**
 * Prediction tables: what `predict`, `tta` and `eval --predictions` write and `eval` reads. One row a prediction, in input order:
 * `logits` and `pred` (classes), `pred_tags` and `tags` (token classification), `nll`, `tokens`, `bytes` (language models), `noise_mse` (diffusion
 * models) or `pred_mask` and `mask` (segmentation, one byte a pixel), and whatever of CARRIED the data has, so that results can be grouped by it.
 */
export type PredictionKind = Prediction['kind'];

/** Columns of the data that travel with the predictions. */
const CARRIED = { id: () => new Utf8(), label: () => new Int32(), domain: () => new Utf8(), task: () => new Utf8(), severity: () => new Int32(), round: () => new Int32(), is_ood: () => new Bool() };

const OWN: Record<PredictionKind, () => Field[]> = {
  class: () => [new Field('logits', new List(new Field('item', new Float32()))), new Field('pred', new Int32(), true), new Field('batch', new Int32())],
  tags: () => [new Field('pred_tags', new List(new Field('item', new Utf8()))), new Field('tags', new List(new Field('item', new Utf8())), true)],
  text: () => [new Field('nll', new Float64()), new Field('tokens', new Int32()), new Field('bytes', new Int32())],
  noise: () => [new Field('noise_mse', new Float64())],
  mask: () => [new Field('pred_mask', new Binary()), new Field('mask', new Binary(), true)],
};

/** The column of each kind that holds what is right. */
const GOLD: Partial<Record<PredictionKind, string>> = { tags: 'tags', mask: 'mask' };

/**
 * The schema of the predictions for a data table.
 * @param labels class names in index order
 * @param keep columns of the data that stay as they are, before the others
 */
export function predictionSchema(kind: PredictionKind, data: Schema, labels: readonly string[], metadata: Record<string, string> = {}, keep: readonly string[] = []): Schema {
  const kept = data.fields.filter((f) => keep.includes(f.name) && !(f.name in CARRIED));
  const carried = Object.entries(CARRIED).filter(([name]) => data.names.includes(name)).map(([name, type]) => new Field(name, type(), true));
  const own = OWN[kind]().filter((f) => f.name !== GOLD[kind] || data.names.includes(f.name));
  const features = Object.entries(featuresOf(data)).filter(([name]) => kept.some((f) => f.name === name));
  const plain = new Schema([...kept, ...carried, ...own], new Map(Object.entries({ ...metadata, 'graft.labels': JSON.stringify(labels) })));
  const schema = features.length > 0 ? withFeatures(plain, Object.fromEntries(features)) : plain;
  return ['label', 'pred'].filter((name) => schema.names.includes(name) && labels.length > 0).reduce((s, name) => withClassLabel(s, name, labels), schema);
}

/** One batch of class predictions beside the carried columns of its rows. @param logits [rows × classes] */
export function classBatch(schema: Schema, rows: readonly Row[], logits: ArrayLike<number> & { subarray(a: number, b: number): ArrayLike<number> }, batch: number): RecordBatch {
  const C = logits.length / rows.length;
  return batchOf(schema, rows.map((row, i) => {
    const z = logits.subarray(i * C, (i + 1) * C);
    return { ...carried(schema, row), logits: z, pred: argmax(z), batch };
  }));
}

/** One batch of the classes of pixels. @param logits [rows · pixels × classes] @param gold the true ones, where they are known */
export function maskBatch(schema: Schema, rows: readonly Row[], logits: Float32Array, classes: number, gold: readonly unknown[]): RecordBatch {
  const maps = classMaps(logits, rows.length, classes);
  return batchOf(schema, rows.map((row, i) => ({ ...carried(schema, row), pred_mask: maps[i], mask: gold[i] })));
}

/** The most likely class of each pixel of `n` images. @param logits [n · pixels × C] */
export function classMaps(logits: Float32Array, n: number, C: number): Uint8Array[] {
  const pixels = logits.length / (n * C);
  return Array.from({ length: n }, (_, i) => Uint8Array.from({ length: pixels }, (_, k) => argmax(logits.subarray((i * pixels + k) * C, (i * pixels + k + 1) * C))));
}

/** The values of the carried columns of a data row. */
export function carried(schema: Schema, row: Row): Row {
  const out: Row = {};
  for (const name of Object.keys(CARRIED)) if (schema.names.includes(name)) out[name] = row[name] ?? null;
  if (typeof out.label === 'string') out.label = null; // not the model's: its own classes are numbers by now
  if (out.is_ood !== undefined && out.is_ood !== null) out.is_ood = isTrue(out.is_ood);
  if (out.id !== undefined && out.id !== null) out.id = String(out.id);
  return out;
}

/** What kind of predictions a table holds. @throws GraftError (65) when it holds none */
export function predictionKind(table: Table): PredictionKind {
  if (table.columns.includes('logits')) return 'class';
  if (table.columns.includes('pred_tags')) return 'tags';
  if (table.columns.includes('nll')) return 'text';
  if (table.columns.includes('noise_mse')) return 'noise';
  if (table.columns.includes('pred_mask')) return 'mask';
  throw dataError(`${table.name}: holds no predictions: none of the columns logits, pred_tags, nll, noise_mse, pred_mask is there; it has ${table.columns.join(', ')} (give --model to predict this data)`);
}

/** The class or tag names a prediction table was written with. */
export function predictionLabels(table: Table): string[] {
  const text = table.schema.metadata.get('graft.labels');
  if (text === undefined) return table.classNames('label') ?? [];
  const labels = parseJson(text, `${table.name}: the metadata graft.labels`);
  if (!Array.isArray(labels) || !labels.every((l) => typeof l === 'string')) throw dataError(`${table.name}: the metadata graft.labels is no list of names`);
  return labels;
}

/** What stands beside the predictions. */
const NEEDED: Record<PredictionKind, string[]> = { class: ['label'], tags: ['tags'], text: ['tokens', 'bytes'], noise: [], mask: ['mask'] };

/** The rows of a prediction table as metrics take them. @param by the column to group by */
export async function* readPredictions(table: Table, by: string | undefined): AsyncGenerator<Prediction> {
  const kind = predictionKind(table);
  table.requireColumns([...NEEDED[kind], ...(by ? [by] : [])]);
  let n = 0, classes = predictionLabels(table).length;
  for await (const rows of table.rows(1024)) for (const row of rows) {
    const where = `${table.name}: row ${++n}`, read = prediction(kind, row, by ? String(row[by]) : '', where, kind === 'mask' ? classes : undefined);
    if (read.kind === 'class' && read.logits.length !== (classes ||= read.logits.length)) throw dataError(`${where}: has ${read.logits.length} logits where there are ${classes} classes`);
    yield read;
  }
  if (n === 0) throw dataError(`${table.name}: has no rows`);
}

/** One row as metrics take it. @param classes of pixels there are @throws GraftError (65) where the label is no class */
export function prediction(kind: PredictionKind, row: Row, group: string, where: string, classes = 256): Prediction {
  if (kind === 'tags') return { kind, predicted: texts(row, 'pred_tags', where), gold: texts(row, 'tags', where), group };
  if (kind === 'text') return { kind, nll: number(row, 'nll', where), tokens: number(row, 'tokens', where), bytes: number(row, 'bytes', where), group };
  if (kind === 'noise') return { kind, mse: number(row, 'noise_mse', where), group };
  if (kind === 'mask') return masks(row, group, where, classes);
  const logits = row.logits as Float32Array, label = Number(row.label);
  if (!isNumbers(logits) || logits.length === 0) throw dataError(`${where}: logits are no list of numbers`);
  if (isTrue(row.is_ood ?? false)) return { kind, logits, label: -1, group, unknown: true };
  if (row.label === null || !Number.isInteger(label) || label < 0 || label >= logits.length) throw dataError(`${where}: label ${String(row.label)} is not a class 0 to ${logits.length - 1}`);
  return { kind, logits, label, group };
}

const isNumbers = (value: unknown): value is ArrayLike<number> => value instanceof Float32Array || value instanceof Float64Array || (Array.isArray(value) && value.every((v) => typeof v === 'number'));

function masks(row: Row, group: string, where: string, classes: number): Prediction {
  const { pred_mask: predicted, mask: gold } = row;
  if (!(predicted instanceof Uint8Array) || !(gold instanceof Uint8Array)) throw dataError(`${where}: pred_mask and mask are not both bytes, one a pixel`);
  if (predicted.length !== gold.length) throw dataError(`${where}: pred_mask has ${predicted.length} pixels, mask ${gold.length}`);
  if (predicted.some((c) => c >= classes) || gold.some((c) => c >= classes && c !== UNLABELLED)) throw dataError(`${where}: a pixel is of a class beyond the ${classes} there are`);
  return { kind: 'mask', predicted, gold, group };
}

function texts(row: Row, column: string, where: string): string[] {
  const value = row[column];
  if (!Array.isArray(value) || !value.every((v) => typeof v === 'string')) throw dataError(`${where}: ${column} is no list of texts`);
  return value;
}

function number(row: Row, column: string, where: string): number {
  const value = row[column];
  if (typeof value !== 'number') throw dataError(`${where}: ${column} is no number`);
  return value;
}
