import { Binary, Bool, DataType, DateDay, Field, Float32, Float64, Int16, Int32, Int64, Int8, List, RecordBatch, Schema, Struct, TimestampMillisecond, Uint16, Uint32, Uint64, Uint8, Utf8 } from 'apache-arrow';
import { parquetSchema, type FileMetaData } from 'hyparquet';
import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { noteRead } from '../dependencies.js';
import { dataError, GraftError } from '../errors.js';
import { readSchema, type BatchStream } from './arrow.js';
import { checkSchema } from './arrow-check.js';
import type { ParquetRequest, ParquetSource } from './parquet-worker.js';
import { batchOf, type Row } from './rows.js';

export const isParquet = (head: Uint8Array): boolean => Buffer.from(head.subarray(0, 4)).toString('latin1') === 'PAR1';

/** Rows of a batch; a row group is decoded whole. */
const BATCH = 1024;

type SchemaTree = ReturnType<typeof parquetSchema>;

/** Reads a Parquet file row group by row group. @throws GraftError (65) where it is none, or asks for more than its size can need */
export async function readParquet(name: string, path: string): Promise<BatchStream> {
  noteRead(path);
  return readGroups(name, { path, size: (await stat(path)).size, bytes: null });
}

/** Reads Parquet that is wholly in memory: its index is at the end, so a pipe has to be drained first. */
export async function readParquetBytes(name: string, bytes: Uint8Array): Promise<BatchStream> {
  const whole = new Uint8Array(bytes).buffer;
  return readGroups(name, { path: '', size: whole.byteLength, bytes: whole });
}

async function readGroups(name: string, source: ParquetSource): Promise<BatchStream> {
  const bad = (error: unknown): Error => (error instanceof GraftError ? error : dataError(`${name}: is not readable Parquet: ${(error as Error).message}`, error));
  const decoder = new Decoder(source);
  let metadata: FileMetaData, schema: Schema;
  try {
    metadata = await decoder.answer() as FileMetaData;
    checkCounts(metadata, source.size);
    schema = schemaOf(metadata, name);
    checkSchema(schema);
  } catch (error) {
    decoder.close();
    throw bad(error);
  }
  async function* batches(): AsyncGenerator<RecordBatch> {
    try {
      let rowStart = 0;
      for (const group of metadata.row_groups) {
        const rowEnd = rowStart + Number(group.num_rows);
        const rows = await decoder.answer({ rowStart, rowEnd }) as Row[];
        for (let i = 0; i < rows.length; i += BATCH) yield batchOf(schema, rows.slice(i, i + BATCH));
        rowStart = rowEnd;
      }
    } catch (error) {
      throw bad(error);
    } finally {
      decoder.close();
    }
  }
  return { schema, batches: batches() };
}

/** A row group is held in memory as rows: this many fields and their values. */
const MOST_FIELDS = 1 << 26;

function checkCounts({ row_groups: groups }: FileMetaData, size: number): void {
  if (!Array.isArray(groups)) throw new Error('it lists no row groups');
  for (const [i, { num_rows: rows, columns }] of groups.entries()) {
    if (!(rows >= 0 && Number(rows) * Math.max(1, columns.length) <= MOST_FIELDS)) throw new Error(`row group ${i + 1} says it has ${rows} rows of ${columns.length} columns`);
    for (const { meta_data: column } of columns) {
      if (!(column && column.num_values >= 0 && column.num_values <= MOST_FIELDS && column.total_compressed_size >= 0 && column.total_compressed_size <= size)) throw new Error(`row group ${i + 1} has a column of an impossible size`);
    }
  }
}

/** The decoder in a thread of its own. It answers in order: first with the metadata, then with the rows asked for. */
class Decoder {
  private readonly worker: Worker;
  private readonly limit: number;

  constructor(source: ParquetSource) {
    this.limit = SLOWEST_MS + source.size / SLOWEST_BYTES_PER_MS;
    this.worker = new Worker(new URL('./parquet-worker.js', import.meta.url), { workerData: source, resourceLimits: { maxOldGenerationSizeMb: MOST_MIB }, stdout: true, stderr: true });
    this.worker.on('error', () => {}); // told by the listener of the answer that is awaited
  }

  async answer(request?: ParquetRequest): Promise<unknown> {
    const { worker } = this;
    if (request) worker.postMessage(request);
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        worker.off('message', told).off('error', failed).off('exit', gone);
      };
      const told = ({ value, error }: { value?: unknown; error?: string }): void => {
        end();
        if (error === undefined) resolve(value);
        else reject(new Error(error));
      };
      const failed = (error: NodeJS.ErrnoException): void => {
        end();
        reject(new Error(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? `a row group takes more than ${MOST_MIB} MiB` : error.message));
      };
      const gone = (): void => {
        end();
        reject(new Error('its decoder stopped'));
      };
      const timer = setTimeout(() => {
        end();
        this.close();
        reject(new Error(`decoding has taken ${(this.limit / 1000).toFixed(0)} s, far too long for its size`));
      }, this.limit);
      worker.on('message', told).on('error', failed).on('exit', gone);
    });
  }

  close(): void {
    void this.worker.terminate();
  }
}

/** Memory for the rows of one row group. */
const MOST_MIB = 1024;
/** What a file is given however small it is, and how slow decoding may be. */
const SLOWEST_MS = 20_000, SLOWEST_BYTES_PER_MS = 1000;

/** The Arrow schema the writer left in the file, or one made from Parquet's own types. */
function schemaOf(metadata: FileMetaData, name: string): Schema {
  const pairs = new Map((metadata.key_value_metadata ?? []).map(({ key, value }) => [key, value ?? '']));
  const stored = pairs.get('ARROW:schema');
  pairs.delete('ARROW:schema');
  if (stored) {
    try {
      const schema = readSchema(new Uint8Array(Buffer.from(stored, 'base64')));
      return new Schema(schema.fields, new Map([...pairs, ...schema.metadata]), schema.dictionaries);
    } catch {
      // A type apache-arrow does not know: Parquet's own description serves.
    }
  }
  return new Schema(parquetSchema(metadata).children.map((c) => fieldOf(c, name)), pairs);
}

function fieldOf(tree: SchemaTree, name: string): Field {
  return new Field(tree.element.name, typeOf(tree, name), tree.element.repetition_type !== 'REQUIRED');
}

function typeOf(tree: SchemaTree, name: string): DataType {
  const { element, children } = tree;
  if (children.length > 0) {
    if (element.converted_type === 'LIST' || element.logical_type?.type === 'LIST') {
      const [repeated] = children;
      return new List(new Field('item', typeOf(repeated.children.length === 1 ? repeated.children[0] : repeated, name), true));
    }
    return new Struct(children.map((c) => fieldOf(c, name)));
  }
  switch (element.type) {
    case 'BOOLEAN': return new Bool();
    case 'FLOAT': return new Float32();
    case 'DOUBLE': return new Float64();
    case 'INT32': case 'INT64': return integerOf(element.converted_type, element.type);
    case 'BYTE_ARRAY': case 'FIXED_LEN_BYTE_ARRAY': {
      const text = ['UTF8', 'ENUM'].includes(element.converted_type ?? '') || element.logical_type?.type === 'STRING';
      return text ? new Utf8() : element.converted_type === 'DECIMAL' ? new Float64() : new Binary();
    }
    default: throw dataError(`${name}: column '${tree.path.join('.')}' has the type ${element.type}, which is not read`);
  }
}

function integerOf(converted: string | undefined, type: 'INT32' | 'INT64'): DataType {
  switch (converted) {
    case 'INT_8': return new Int8();
    case 'INT_16': return new Int16();
    case 'UINT_8': return new Uint8();
    case 'UINT_16': return new Uint16();
    case 'UINT_32': return new Uint32();
    case 'UINT_64': return new Uint64();
    case 'DATE': return new DateDay();
    case 'TIMESTAMP_MILLIS': case 'TIMESTAMP_MICROS': return new TimestampMillisecond();
    case 'DECIMAL': return new Float64();
    default: return type === 'INT64' ? new Int64() : new Int32();
  }
}
