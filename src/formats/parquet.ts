import { Binary, Bool, DataType, DateDay, Field, Float32, Float64, Int16, Int32, Int64, Int8, List, RecordBatch, RecordBatchReader, Schema, Struct, TimestampMillisecond, Uint16, Uint32, Uint64, Uint8, Utf8 } from 'apache-arrow';
import { parquetMetadataAsync, parquetReadObjects, parquetSchema, type AsyncBuffer, type Compressors, type FileMetaData } from 'hyparquet';
import { open, stat } from 'node:fs/promises';
import * as zlib from 'node:zlib';
import { noteRead } from '../dependencies.js';
import { dataError, oneLine } from '../errors.js';
import type { BatchStream } from './arrow.js';
import { batchOf, type Row } from './rows.js';

export const isParquet = (head: Uint8Array): boolean => Buffer.from(head.subarray(0, 4)).toString('latin1') === 'PAR1';

/** Rows of a batch; a row group is decoded whole. */
const BATCH = 1024;

type SchemaTree = ReturnType<typeof parquetSchema>;

/** Reads a Parquet file row group by row group. */
export async function readParquet(name: string, path: string): Promise<BatchStream> {
  noteRead(path);
  const { size } = await stat(path);
  const slice = async (start: number, end = size): Promise<ArrayBuffer> => {
    const file = await open(path, 'r');
    try {
      const bytes = new Uint8Array(end - start);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
      return bytes.buffer.slice(0, bytesRead);
    } finally {
      await file.close();
    }
  };
  return readGroups(name, { byteLength: size, slice });
}

/** Reads Parquet that is wholly in memory: its index is at the end, so a pipe has to be drained first. */
export async function readParquetBytes(name: string, bytes: Uint8Array): Promise<BatchStream> {
  const whole = new Uint8Array(bytes).buffer;
  return readGroups(name, { byteLength: whole.byteLength, slice: async (start, end) => whole.slice(start, end) });
}

async function readGroups(name: string, file: AsyncBuffer): Promise<BatchStream> {
  const bad = (error: unknown): Error => dataError(`${name}: is not readable Parquet: ${oneLine((error as Error).message)}`, error);
  let metadata: FileMetaData;
  try {
    metadata = await parquetMetadataAsync(file);
  } catch (error) {
    throw bad(error);
  }
  const schema = schemaOf(metadata, name);
  async function* batches(): AsyncGenerator<RecordBatch> {
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      const rows = await parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors, utf8: false }).catch((error) => { throw bad(error); }) as Row[];
      for (let i = 0; i < rows.length; i += BATCH) yield batchOf(schema, rows.slice(i, i + BATCH));
      rowStart = rowEnd;
    }
  }
  return { schema, batches: batches() };
}

/** What node itself can decompress; Snappy is hyparquet's own. */
const compressors: Compressors = {
  GZIP: (input) => zlib.gunzipSync(input),
  BROTLI: (input) => zlib.brotliDecompressSync(input),
  ...('zstdDecompressSync' in zlib ? { ZSTD: zlib.zstdDecompressSync as (input: Uint8Array) => Uint8Array } : {}),
};

/** The Arrow schema the writer left in the file, or one made from Parquet's own types. */
function schemaOf(metadata: FileMetaData, name: string): Schema {
  const pairs = new Map((metadata.key_value_metadata ?? []).map(({ key, value }) => [key, value ?? '']));
  const stored = pairs.get('ARROW:schema');
  pairs.delete('ARROW:schema');
  if (stored) {
    try {
      const { schema } = RecordBatchReader.from(Buffer.from(stored, 'base64')).open();
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
