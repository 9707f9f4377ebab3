import { tf, type Tensor2D } from '@graft/kernels';
import { dataError } from '../errors.js';
import { classIndex } from '../formats/features.js';
import type { Row } from '../formats/rows.js';
import type { Table } from '../formats/table.js';
import type { Head } from '../models/model.js';

/** What an image is to show: rows of the model's table of conditions, none or several. */
export type Condition = readonly number[];

/**
 * The condition of a row: the names in `prompt`, commas between them, or else its `label`; none where the model knows none.
 * @throws GraftError (65) naming the row for a name that is none of the model's
 */
export function conditionReader(head: Head, table: Pick<Table, 'columns' | 'name' | 'classNames'>): (row: Row, number: number) => Condition {
  const labels = head.labels ?? [];
  const column = labels.length === 0 ? undefined : ['prompt', 'label'].find((c) => table.columns.includes(c));
  if (column === undefined) return () => [];
  const bad = (value: unknown, number: number): Error => dataError(`${table.name}: row ${number + 1}: ${column} ${JSON.stringify(value)} is none of the model's ${labels.length} conditions (${labels.slice(0, 5).join(', ')}${labels.length > 5 ? ', …' : ''})`);
  if (column === 'prompt') return (row, number) => conditionOf(row.prompt, labels) ?? fail(bad(row.prompt, number));
  const names = table.classNames('label'), indexOf = classIndex(labels, names);
  return (row, number) => {
    if (row.label === null || row.label === undefined) return [];
    const index = indexOf(row.label);
    return index < 0 ? fail(bad((typeof row.label === 'number' && names?.[row.label]) || row.label, number)) : [index];
  };
}

/** The conditions a text names, commas between them; undefined where one is not known. */
export function conditionOf(text: unknown, labels: readonly string[]): Condition | undefined {
  if (text === null || text === undefined) return [];
  if (typeof text !== 'string') return undefined;
  const found = text.split(',').map((word) => word.trim()).filter((word) => word !== '').map((word) => labels.indexOf(word));
  return found.includes(-1) ? undefined : found;
}

function fail(error: Error): never {
  throw error;
}

/**
 * Conditions as the model takes them: ids [B, T], and a mask where their numbers differ. Nothing for a model without conditions.
 * @param classes how many the model has; the row after them stands for none
 */
export function conditionTensors(conditions: readonly Condition[], classes: number): { ids?: Tensor2D; mask?: Tensor2D } {
  if (classes === 0) return {};
  const rows = conditions.map((c) => (c.length > 0 ? c : [classes])), T = Math.max(...rows.map((r) => r.length));
  const padded = rows.map((r) => [...r, ...new Array<number>(T - r.length).fill(0)]);
  const ids = tf.tensor2d(padded, [rows.length, T], 'int32');
  return rows.every((r) => r.length === T) ? { ids } : { ids, mask: tf.tensor2d(rows.map((r) => padded[0].map((_, i) => Number(i < r.length))), [rows.length, T]) };
}
