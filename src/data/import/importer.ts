import type { RecordBatch, Schema } from 'apache-arrow';
import type { OptionSpecs, OptionValues } from '../../options.js';
import { batchOf, type Row } from '../../formats/rows.js';
import type { ImportInput } from './input.js';

/** What is read from a file, batch by batch. */
export interface Imported { schema: Schema; batches: AsyncIterable<RecordBatch> }

/** One format. */
export interface Importer {
  name: string;
  summary: string;
  options: OptionSpecs;
  /** Ends of file names that speak for this format, without `.gz`. */
  extensions: readonly string[];
  /** Whether the contents speak for it, where the name says nothing. @param head the first 512 bytes */
  recognises?(head: Uint8Array): boolean;
  /** Further operands belong to the same table (images and their labels) rather than being read one after another. */
  together?: boolean;
  /** Starts reading; may be called again for a second pass. */
  read(inputs: readonly ImportInput[], options: OptionValues): Promise<Imported>;
}

/** Rows of a batch, and the most bytes of media in one. */
const BATCH_ROWS = 1024;
const BATCH_BYTES = 1 << 24;

/** Rows of plain values as batches. @param sizeOf bytes of a row, where rows may be large */
export async function* batched(schema: Schema, rows: AsyncIterable<Row>, sizeOf: (row: Row) => number = () => 0): AsyncGenerator<RecordBatch> {
  let held: Row[] = [], size = 0;
  for await (const row of rows) {
    held.push(row);
    size += sizeOf(row);
    if (held.length === BATCH_ROWS || size > BATCH_BYTES) {
      yield batchOf(schema, held);
      held = [];
      size = 0;
    }
  }
  if (held.length > 0) yield batchOf(schema, held);
}

/** Reads files one after another where a format reads one at a time. */
export async function* eachInput<T>(inputs: readonly ImportInput[], read: (input: ImportInput) => AsyncIterable<T>): AsyncGenerator<T> {
  for (const input of inputs) yield* read(input);
}
