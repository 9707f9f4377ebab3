import type { RecordBatch, Schema } from 'apache-arrow';
import { dataError, usageError } from '../errors.js';
import { classNames } from '../formats/features.js';

/** Which rows of a batch are wanted. */
export type Wanted = (batch: RecordBatch) => Uint32Array;

/** The longer operators first, so that <= is not read as <. */
const OPERATORS: Record<string, (a: number) => boolean> = {
  '!=': (a) => a !== 0, '<=': (a) => a <= 0, '>=': (a) => a >= 0, '=': (a) => a === 0, '<': (a) => a < 0, '>': (a) => a > 0,
};

/**
 * `column=value` and the like (=, !=, <, <=, >, >=), all of which must hold. Classes may be given by name. A missing value
 * satisfies no condition.
 * @throws GraftError (usage) for a condition that is none, (65) for a column that is missing
 */
export function conditions(texts: readonly string[], schema: Schema, where: string): Wanted {
  const tests = texts.map((text) => condition(text, schema, where));
  return (batch) => {
    const columns = tests.map((t) => batch.getChild(t.column)!);
    const rows: number[] = [];
    for (let i = 0; i < batch.numRows; i++) if (tests.every((t, k) => t.holds(columns[k].get(i)))) rows.push(i);
    return Uint32Array.from(rows);
  };
}

function condition(text: string, schema: Schema, where: string): { column: string; holds(value: unknown): boolean } {
  const [, column, operator, wanted] = /^([^=!<>]+)(!=|<=|>=|=|<|>)(.*)$/s.exec(text) ?? [];
  if (!column) throw usageError(`--where ${text}: write it as column=value (or !=, <, <=, >, >=)`);
  if (!schema.names.includes(column)) throw dataError(`${where}: has no column '${column}'; it has ${schema.names.join(', ')}`);
  const index = classNames(schema, column)?.indexOf(wanted) ?? -1;
  const target = index >= 0 ? index : wanted;
  const holds = OPERATORS[operator];
  return { column, holds: (value) => value !== null && value !== undefined && holds(compare(value, target)) };
}

/** Numbers as numbers, anything else as text. */
function compare(value: unknown, target: string | number): number {
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value) - Number(target) || (Number.isNaN(Number(target)) ? NaN : 0);
  const text = String(value), other = String(target);
  return text < other ? -1 : text > other ? 1 : 0;
}
