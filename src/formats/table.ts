import { Field, RecordBatch, Schema } from 'apache-arrow';
import { dataError, oneLine, usageError } from '../errors.js';
import { isArrowFile, isArrowStream, readArrow, type BatchStream } from './arrow.js';
import { ByteReader } from './bytes.js';
import { classNames, featuresOf, withFeatures } from './features.js';
import { inputStream, isDirectory, nameOf, readHead, STDIN } from './input.js';
import { readJsonl } from './jsonl.js';
import { isParquet, readParquet, readParquetBytes } from './parquet.js';
import { assemble, rowsOf, type Row } from './rows.js';

export type { Row } from './rows.js';

export interface TableOptions {
  /** `new=old,…`: columns to rename; any other column that has a new name already gives way. */
  columns?: string;
}

/**
 * Opens a table: Arrow IPC (stream or file), Parquet or JSON lines, told apart by content. `-` is standard input, which
 * can be read once; a file can be read again and again.
 * @throws GraftError (66) not there, (65) not a table or an empty one
 */
export async function openTable(path: string, options: TableOptions = {}): Promise<Table> {
  const name = nameOf(path);
  const open = path === STDIN ? once(name, await openStream(name)) : await reopen(name, path);
  const first = await open();
  return new Table(name, first, open, parseRenames(options.columns));
}

/** Rows in named columns, read batch by batch. */
export class Table {
  /** Columns under their new names; metadata kept. */
  readonly schema: Schema;
  /** Where each column of `schema` stands in the file. */
  private readonly picked: number[];

  /** @param name how messages name the file */
  constructor(readonly name: string, private first: BatchStream | null, private readonly open: () => Promise<BatchStream>, renames: ReadonlyMap<string, string>) {
    const { schema } = first!;
    for (const [fresh, old] of renames) if (!schema.names.includes(old)) throw dataError(`${name}: has no column '${old}' for --columns ${fresh}=${old}; it has ${columnsOf(schema)}`);
    const news = new Map([...renames].map(([fresh, old]) => [old, fresh]));
    const columns = schema.fields.map((field, index) => ({ field, index })).filter(({ field }) => news.has(field.name) || !renames.has(field.name));
    this.picked = columns.map((c) => c.index);
    const fields = columns.map(({ field }) => new Field(news.get(field.name) ?? field.name, field.type, field.nullable, field.metadata));
    const renamed = new Schema(fields, schema.metadata, schema.dictionaries);
    const features = featuresOf(schema);
    this.schema = renames.size === 0 || Object.keys(features).length === 0 ? renamed
      : withFeatures(renamed, Object.fromEntries(columns.filter(({ field }) => features[field.name]).map(({ field }) => [news.get(field.name) ?? field.name, features[field.name]])));
  }

  get columns(): string[] {
    return this.schema.fields.map((f) => f.name);
  }

  /** The record batches as they lie in the file. */
  async *batches(): AsyncGenerator<RecordBatch> {
    const stream = this.first ?? await this.open();
    this.first = null;
    for await (const batch of stream.batches) yield assemble(this.schema, this.picked.map((i) => batch.data.children[i]), batch.numRows);
  }

  /** The rows in groups of `batchSize`, the last one smaller. */
  async *rows(batchSize: number): AsyncGenerator<Row[]> {
    const held: Row[] = [];
    for await (const batch of this.batches()) {
      for (let i = 0; i < batch.numRows;) {
        const n = Math.min(batchSize - held.length, batch.numRows - i);
        for (const row of rowsOf(batch.slice(i, i + n))) held.push(row);
        i += n;
        if (held.length === batchSize) yield held.splice(0);
      }
    }
    if (held.length > 0) yield held;
  }

  /** The names of the classes a label column counts, where the file says them. */
  classNames(column: string): string[] | null {
    return classNames(this.schema, column);
  }

  /** @throws GraftError (65) saying which column is missing, where, and what is there. */
  requireColumns(columns: readonly string[]): void {
    for (const column of columns) if (!this.columns.includes(column)) throw missing(this.name, column, this.schema);
  }
}

const missing = (name: string, column: string, schema: Schema): Error =>
  dataError(`${name}: has no column '${column}'; it has ${columnsOf(schema)} (--columns ${column}=NAME renames one)`);

const columnsOf = (schema: Schema): string => oneLine(schema.fields.map((f) => f.name).join(', ')) || 'none';

function parseRenames(columns: string | undefined): Map<string, string> {
  const pairs = (columns ?? '').split(',').filter((p) => p !== '').map((p) => p.split('='));
  for (const p of pairs) if (p.length !== 2 || p[0] === '' || p[1] === '') throw usageError(`--columns ${columns}: write it as new=old,new=old`);
  return new Map(pairs as [string, string][]);
}

async function openStream(name: string): Promise<BatchStream> {
  const input = new ByteReader(inputStream(STDIN), () => dataError(`${name}: is cut short`));
  const head = await input.peek(8);
  if (isParquet(head)) return readParquetBytes(name, await collect(input.rest()));
  return openContent(name, head, input.rest());
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

async function reopen(name: string, path: string): Promise<() => Promise<BatchStream>> {
  if (isDirectory(path)) throw dataError(`${path}: is a directory; name the Arrow or Parquet file in it`);
  const head = await readHead(path, 8);
  if (isParquet(head)) return () => readParquet(name, path);
  return () => openContent(name, head, inputStream(path));
}

function openContent(name: string, head: Uint8Array, bytes: AsyncIterable<Uint8Array>): Promise<BatchStream> {
  if (head.length === 0) throw dataError(`${name}: is empty; Arrow data is expected`);
  if (head[0] === 0x7b) return readJsonl(name, bytes);
  if (isArrowFile(head) || isArrowStream(head)) return readArrow(name, bytes);
  throw dataError(`${name}: is neither Arrow, Parquet nor JSON lines (graft data import reads other formats)`);
}

function once(name: string, stream: BatchStream): () => Promise<BatchStream> {
  let left: BatchStream | null = stream;
  return async () => {
    if (!left) throw dataError(`${name}: can be read only once; write it to a file first`);
    const taken = left;
    left = null;
    return taken;
  };
}
