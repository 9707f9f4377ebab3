import { DataType, type Data, type Field, type RecordBatch, type Schema } from 'apache-arrow';
import { verify, type Slot, type Table } from './flatbuffers.js';

// The tables of Arrow's Message.fbs and Schema.fbs (format 1.5).
const scalar = (bytes: 1 | 2 | 4 | 8): Slot => ({ kind: 'scalar', bytes });
const string: Slot = { kind: 'string' };
const tables = (table: Table): Slot => ({ kind: 'tables', table });
const pairs: Table = () => [string, string];
const integer: Table = () => [scalar(4), scalar(1)];
const empty: Table = () => [];
const one = (bytes: 1 | 2 | 4): Table => () => [scalar(bytes)];

/** Type, by its number: null, int, float, binary, utf8, bool, decimal, date, time, timestamp, interval, list, struct, (union), fixed-size ones, map, duration, large ones. */
const types: Record<number, Table> = {
  1: empty, 2: integer, 3: one(2), 4: empty, 5: empty, 6: empty, 7: () => [scalar(4), scalar(4), scalar(4)], 8: one(2), 9: () => [scalar(2), scalar(4)], 10: () => [scalar(2), string],
  11: one(2), 12: empty, 13: empty, 15: one(4), 16: one(4), 17: one(1), 18: one(2), 19: empty, 20: empty, 21: empty,
};
const dictionary: Table = () => [scalar(8), { kind: 'table', table: integer }, scalar(1), scalar(2)];
const field: Table = () => [string, scalar(1), scalar(1), { kind: 'union', tables: types }, { kind: 'table', table: dictionary }, tables(field), tables(pairs)];
const schema: Table = () => [scalar(2), tables(field), tables(pairs), { kind: 'scalars', bytes: 8 }];
const records: Table = () => [scalar(8), { kind: 'scalars', bytes: 16 }, { kind: 'scalars', bytes: 16 }, { kind: 'table', table: () => [scalar(1), scalar(1)] }, { kind: 'scalars', bytes: 8 }];
const message: Table = () => [scalar(2), scalar(1), { kind: 'union', tables: { 1: schema, 2: () => [scalar(8), { kind: 'table', table: records }, scalar(1)], 3: records } }, scalar(8), tables(pairs)];

/** @throws Error where the header of a message is not one that can be followed */
export const checkMessage = (metadata: Uint8Array): void => verify(metadata, message);

const MAX_NESTING = 32;

/** @throws Error naming the column whose name or type is impossible */
export function checkSchema({ fields }: Schema): void {
  checkNames(fields, 'columns');
  for (const f of fields) checkField(f, f.name, 0);
}

function checkNames(fields: readonly Field[], what: string): void {
  const seen = new Set<unknown>();
  for (const { name } of fields) {
    if (typeof name !== 'string') throw new Error(`one of its ${what} has no name`);
    if (seen.has(name)) throw new Error(`two of its ${what} are named '${name}'`);
    seen.add(name);
  }
}

function checkField(f: Field, column: string, depth: number): void {
  const bad = (what: string): Error => new Error(`column '${column}' ${what}`);
  if (depth > MAX_NESTING) throw bad(`is nested deeper than ${MAX_NESTING} levels`);
  const type = f.type as DataType | undefined;
  if (!type) throw bad('has no type');
  const inner = DataType.isDictionary(type) ? type.dictionary as DataType : type;
  if (DataType.isDictionary(type)) checkWidths(type.indices as DataType, bad);
  checkWidths(inner, bad);
  const children = (inner.children ?? []) as Field[];
  const wanted = DataType.isList(inner) || DataType.isLargeList(inner) || DataType.isFixedSizeList(inner) || DataType.isMap(inner) ? 1 : DataType.isStruct(inner) ? children.length : 0;
  if (children.length !== wanted) throw bad(`of type ${inner} has ${children.length} children`);
  if (DataType.isMap(inner) && children[0].type?.children?.length !== 2) throw bad('is a map without keys and values');
  if (DataType.isStruct(inner)) checkNames(children, `parts of column '${column}'`);
  for (const child of children) checkField(child, column, depth + 1);
}

function checkWidths(type: DataType, bad: (what: string) => Error): void {
  if (DataType.isUnion(type)) throw bad('is a union, which is not read');
  if (DataType.isInt(type) && ![8, 16, 32, 64].includes(type.bitWidth)) throw bad(`has integers of ${type.bitWidth} bits`);
  if (DataType.isFloat(type) && ![0, 1, 2].includes(type.precision)) throw bad(`has floats of precision ${type.precision}`);
  if (DataType.isDecimal(type) && ![128, 256].includes(type.bitWidth)) throw bad(`has decimals of ${type.bitWidth} bits`);
  if (DataType.isTime(type) && ![32, 64].includes(type.bitWidth)) throw bad(`has times of ${type.bitWidth} bits`);
  if ((DataType.isDate(type) || DataType.isTimestamp(type) || DataType.isTime(type) || DataType.isInterval(type) || DataType.isDuration(type)) && !(type.unit >= 0 && type.unit <= 3)) throw bad(`has the time unit ${type.unit}`);
  if (DataType.isDate(type) && type.unit > 1) throw bad(`has the time unit ${type.unit}`);
  if (DataType.isFixedSizeList(type) && !(type.listSize >= 0)) throw bad(`has lists of ${type.listSize}`);
  if (DataType.isFixedSizeBinary(type) && !(type.byteWidth >= 0)) throw bad(`has values of ${type.byteWidth} bytes`);
}

/** Rows that may take no memory of their own (columns of nulls) are believed up to here. */
const MOST_EMPTY_ROWS = 1 << 20;

/**
 * Whether what a batch says of its lengths and offsets is what its buffers hold.
 * @param bytes of its body
 * @throws Error naming the column that does not fit
 */
export function checkBatch(batch: RecordBatch, bytes: number): void {
  const { numRows, schema: { fields } } = batch;
  if (!(numRows >= 0 && numRows <= Math.max(MOST_EMPTY_ROWS, 8 * bytes))) throw new Error(`a batch says it has ${numRows} rows in ${bytes} bytes`);
  fields.forEach((f, i) => checkData(batch.data.children[i] as Data | undefined, f.type, numRows, f.name));
}

function checkData(data: Data | undefined, type: DataType, rows: number, column: string): void {
  const bad = (what: string): Error => new Error(`column '${column}': ${what}`);
  if (!data || data.length !== rows || data.offset !== 0) throw bad(`has ${data?.length ?? 'no'} rows of ${rows}`);
  const { nullCount, nullBitmap, values } = data;
  if (!(nullCount >= 0 && nullCount <= rows)) throw bad(`says that ${nullCount} of ${rows} values are missing`);
  if (nullCount > 0 && !DataType.isNull(type) && (nullBitmap?.byteLength ?? 0) * 8 < rows) throw bad('does not say which values are missing');
  const holds = (size: number): void => { if ((values?.length ?? 0) < size) throw bad(`holds ${values?.length ?? 0} values, ${size} are needed`); };
  if (DataType.isNull(type)) return;
  if (DataType.isBool(type)) return holds(Math.ceil(rows / 8));
  if (DataType.isDictionary(type)) return checkDictionary(data, rows, bad, column);
  if (DataType.isStruct(type)) return type.children.forEach((f, i) => checkData(data.children[i], f.type, rows, column));
  if (DataType.isFixedSizeList(type)) {
    const [child] = data.children;
    if (!child || child.length < rows * type.listSize) throw bad(`${rows} lists of ${type.listSize} do not fit into ${child?.length ?? 0} values`);
    return checkData(child, type.valueType, child.length, column);
  }
  if (data.valueOffsets) {
    const inner = type.children?.[0]?.type as DataType | undefined, size = inner ? data.children[0]?.length ?? 0 : values?.length ?? 0;
    checkOffsets(data.valueOffsets as ArrayLike<number | bigint>, rows, size, bad);
    if (inner) checkData(data.children[0], inner, size, column);
    return;
  }
  holds(rows * data.stride);
}

/** Offsets begin at 0 or later, never fall, and end within what they point into. */
function checkOffsets(offsets: ArrayLike<number | bigint>, rows: number, size: number, bad: (what: string) => Error): void {
  if (rows === 0) return;
  if (offsets.length < rows + 1) throw bad(`has ${offsets.length} offsets for ${rows} rows`);
  for (let i = 0, last = 0; i <= rows; i++) {
    const at = Number(offsets[i]);
    if (!(at >= last && at <= size)) throw bad(`the offset of row ${i} is ${at}, outside ${last} to ${size}`);
    last = at;
  }
}

function checkDictionary(data: Data, rows: number, bad: (what: string) => Error, column: string): void {
  if (!data.dictionary) throw bad('its dictionary is missing');
  const { dictionary, values } = data, size = dictionary.length;
  if ((values?.length ?? 0) < rows) throw bad(`holds ${values?.length ?? 0} values, ${rows} are needed`);
  for (let i = 0; i < rows; i++) {
    if (data.nullCount > 0 && !data.getValid(i)) continue;
    const index = Number(values[i]);
    if (!(index >= 0 && index < size)) throw bad(`row ${i} is entry ${index} of a dictionary of ${size}`);
  }
  for (const part of dictionary.data as Data[]) checkData(part, part.type as DataType, part.length, column);
}
