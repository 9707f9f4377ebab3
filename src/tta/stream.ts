import { rowsOf, type Row } from '../formats/rows.js';
import type { Table } from '../formats/table.js';

/** The rows of a stream that are adapted to at once. */
export interface StreamBatch {
  rows: Row[];
  /** The value all of them have in the grouping column, as text; null without one. */
  group: string | null;
}

/**
 * Batches of a stream as they fill, the next rows unread while one is at work. No batch holds two values of `column`: where it
 * changes, what is held goes out as a smaller batch.
 */
export async function* streamBatches(table: Table, batchSize: number, column?: string): AsyncGenerator<StreamBatch> {
  let rows: Row[] = [], group: string | null = null;
  for await (const batch of table.batches()) {
    for (const row of rowsOf(batch)) {
      const own = column === undefined ? null : String(row[column]);
      if (rows.length > 0 && own !== group) {
        yield { rows, group };
        rows = [];
      }
      group = own;
      rows.push(row);
      if (rows.length === batchSize) {
        yield { rows, group };
        rows = [];
      }
    }
  }
  if (rows.length > 0) yield { rows, group };
}
