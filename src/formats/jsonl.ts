import { Bool, DataType, Field, Float64, Int64, List, Schema, Struct, Utf8 } from 'apache-arrow';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { dataError } from '../errors.js';
import type { BatchStream } from './arrow.js';
import { parseObject } from './json.js';
import { batchOf, own, type Row } from './rows.js';

const BATCH = 1024;

/**
 * Reads JSON lines: an object a line. The columns and their types are those of the first 1024 rows.
 * @throws GraftError (65) naming the line that is not JSON or does not fit
 */
export async function readJsonl(name: string, bytes: AsyncIterable<Uint8Array>): Promise<BatchStream> {
  const groups = groupsOf(name, bytes);
  const first = await groups.next();
  if (first.done) throw dataError(`${name}: holds no rows`);
  const schema = new Schema(fieldsOf(first.value.rows, name));
  async function* batches(): AsyncGenerator<ReturnType<typeof batchOf>> {
    for (let group: IteratorResult<Group> = first; !group.done; group = await groups.next()) {
      const { rows, line } = group.value;
      rows.forEach((row, i) => check(row, schema, `${name}:${line + i}`));
      yield batchOf(schema, rows);
    }
  }
  return { schema, batches: batches() };
}

interface Group { rows: Row[]; line: number }

async function* groupsOf(name: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Group> {
  let rows: Row[] = [];
  let line = 0;
  for await (const text of createInterface({ input: Readable.from(bytes), crlfDelay: Infinity })) {
    line++;
    if (text.trim() === '') throw dataError(`${name}:${line}: is blank; a JSON object is expected on every line`);
    rows.push(parseObject(text, `${name}:${line}`));
    if (rows.length === BATCH) {
      yield { rows, line: line - BATCH + 1 };
      rows = [];
    }
  }
  if (rows.length > 0) yield { rows, line: line - rows.length + 1 };
}

function fieldsOf(rows: readonly Row[], where: string): Field[] {
  const names = new Set(rows.flatMap((r) => Object.keys(r)));
  return [...names].map((n) => new Field(n, typeOf(rows.map((r) => own(r, n)), `${where}: column '${n}'`), true));
}

function typeOf(values: readonly unknown[], where: string): DataType {
  const present = values.filter((v) => v !== null && v !== undefined);
  const kinds = new Set(present.map(kindOf));
  if (kinds.size === 0) return new Utf8();
  if (kinds.size === 1 && kinds.has('array')) return new List(new Field('item', typeOf((present as unknown[][]).flat(), where), true));
  if (kinds.size === 1 && kinds.has('object')) return new Struct(fieldsOf(present as Row[], where));
  if (kinds.size === 1 && kinds.has('string')) return new Utf8();
  if (kinds.size === 1 && kinds.has('boolean')) return new Bool();
  if (kinds.size === 1 && kinds.has('integer')) return new Int64();
  if ([...kinds].every((k) => k === 'integer' || k === 'number')) return new Float64();
  throw dataError(`${where} mixes ${[...kinds].sort().join(' and ')}`);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return Number.isSafeInteger(value) ? 'integer' : typeof value;
}

function check(row: Row, schema: Schema, where: string): void {
  for (const [name, value] of Object.entries(row)) {
    const field = schema.fields.find((f) => f.name === name);
    if (!field) throw dataError(`${where}: column '${name}' was not in the first ${BATCH} rows`);
    if (!fits(value, field.type)) throw dataError(`${where}: column '${name}' is ${kindOf(value)}, it was ${field.type} before`);
  }
}

function fits(value: unknown, type: DataType): boolean {
  if (value === null || value === undefined) return true;
  const kind = kindOf(value);
  if (DataType.isList(type)) return kind === 'array' && (value as unknown[]).every((v) => fits(v, type.valueType));
  if (DataType.isStruct(type)) return kind === 'object' && type.children.every((f) => fits(own(value as Row, f.name), f.type));
  if (DataType.isInt(type)) return kind === 'integer';
  if (DataType.isFloat(type)) return kind === 'integer' || kind === 'number';
  return kind === (DataType.isBool(type) ? 'boolean' : 'string');
}

/** A row as a line of JSON; bytes as base64. */
export const jsonLine = (row: Row): string => `${JSON.stringify(row, (_, value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('base64') : ArrayBuffer.isView(value) ? Array.from(value as never) : value))}\n`;
