import { DataType, makeData, RecordBatch, Schema, Struct, Vector, vectorFromArray, type Data } from 'apache-arrow';

/** One row as plain values: numbers (64-bit integers too), texts, booleans, Uint8Array for binary, arrays, objects, null. */
export type Row = Record<string, unknown>;

/** The rows of a batch. Fixed-size lists and lists of floats come as typed arrays, other lists as arrays. */
export function rowsOf(batch: RecordBatch): Row[] {
  const columns = batch.schema.fields.map((f, i) => ({ name: f.name, values: batch.getChildAt(i)!, plain: reader(f.type) }));
  return Array.from({ length: batch.numRows }, (_, i) => {
    const row: Row = {};
    for (const { name, values, plain } of columns) {
      const value = values.get(i);
      row[name] = value === null || value === undefined ? null : plain(value);
    }
    return row;
  });
}

/** A batch from rows of plain values, one column for each field of the schema. */
export function batchOf(schema: Schema, rows: readonly Row[]): RecordBatch {
  const columns = schema.fields.map((f) => vectorFromArray(rows.map((r) => wide(own(r, f.name), f.type)), f.type).data[0]);
  return assemble(schema, columns, rows.length);
}

/** A row's own value: a column may be called `constructor`. */
export const own = (row: Row, name: string): unknown => (Object.hasOwn(row, name) ? row[name] : undefined);

/** A batch from columns. */
export function assemble(schema: Schema, columns: Data[], length: number): RecordBatch {
  return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length, nullCount: 0, children: columns }));
}

type Plain = (value: never) => unknown;

/** What turns a value apache-arrow hands out into a plain one. */
function reader(type: DataType): (value: unknown) => unknown {
  return pick(type) as (value: unknown) => unknown;
}

function pick(type: DataType): Plain {
  if (DataType.isDictionary(type)) return reader(type.dictionary);
  if (DataType.isInt(type) && type.bitWidth === 64) return (v: bigint) => Number(v);
  if (DataType.isFixedSizeList(type) || DataType.isList(type) || DataType.isLargeList(type)) return list(type);
  if (DataType.isStruct(type)) {
    const fields = type.children.map((f) => ({ name: f.name, plain: reader(f.type) }));
    // By position: a field may be called as a method of apache-arrow's rows is.
    return (v: Iterable<[unknown, unknown]>) => {
      const values = [...v];
      return Object.fromEntries(fields.map(({ name, plain }, i) => [name, nullable(values[i][1], plain)]));
    };
  }
  if (DataType.isMap(type)) {
    const plain = reader(type.valueType);
    return (v: Iterable<[unknown, unknown]>) => Object.fromEntries([...v].map(([k, x]) => [String(k), nullable(x, plain)]));
  }
  return (v: unknown) => v;
}

function list(type: DataType & { valueType: DataType }): Plain {
  const item = type.valueType;
  const numbers = (DataType.isFloat(item) && item.precision > 0) || (DataType.isInt(item) && item.bitWidth < 64);
  const plain = reader(item);
  const array = (v: Vector): unknown[] => Array.from({ length: v.length }, (_, i) => nullable(v.get(i), plain));
  if (!numbers || !(DataType.isFixedSizeList(type) || DataType.isFloat(item))) return array;
  return (v: Vector) => (v.nullCount > 0 ? array(v) : v.toArray().slice());
}

const nullable = (value: unknown, plain: (v: unknown) => unknown): unknown => (value === null || value === undefined ? null : plain(value));

/** 64-bit columns take bigint only; a missing value is null. */
function wide(value: unknown, type: DataType): unknown {
  if (value === null || value === undefined) return null;
  if (DataType.isDictionary(type)) return wide(value, type.dictionary);
  if (DataType.isInt(type)) return type.bitWidth === 64 ? BigInt(value as number) : Number(value);
  if (DataType.isList(type) || DataType.isFixedSizeList(type) || DataType.isLargeList(type)) return Array.from(value as Iterable<unknown>, (v) => wide(v, type.valueType));
  if (DataType.isStruct(type)) return Object.fromEntries(type.children.map((f) => [f.name, wide(own(value as Row, f.name), f.type)]));
  return value;
}

/** A yes in a column of truth values, also one of numbers or, as --set makes them, of texts. */
export const isTrue = (value: unknown): boolean => value === true || value === 'true' || Number(value) === 1;
