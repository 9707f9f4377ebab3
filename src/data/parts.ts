import type { RecordBatch } from 'apache-arrow';
import type { Table } from '../formats/table.js';

/** The rows of a table, at most so many at once. */
export async function* inParts(table: Table, size: number): AsyncGenerator<RecordBatch> {
  for await (const batch of table.batches()) for (let i = 0; i < batch.numRows; i += size) yield batch.slice(i, Math.min(batch.numRows, i + size));
}
