import type { RecordBatch } from 'apache-arrow';
import type { Table } from '../formats/table.js';
import { gatherRows } from './gather.js';

/** Rows of the batches that are written. */
const BATCH = 1024;

/** A whole table in memory, its columns as they lay in the file, for operations that need rows in any order. */
export class HeldTable {
  /** Of each row: which batch it is in, and where. */
  private readonly part: Uint32Array;
  private readonly row: Uint32Array;

  private constructor(readonly table: Table, private readonly batches: readonly RecordBatch[]) {
    const count = batches.reduce((n, b) => n + b.numRows, 0);
    this.part = new Uint32Array(count);
    this.row = new Uint32Array(count);
    let at = 0;
    batches.forEach((b, p) => {
      for (let r = 0; r < b.numRows; r++, at++) {
        this.part[at] = p;
        this.row[at] = r;
      }
    });
  }

  static async read(table: Table): Promise<HeldTable> {
    const batches: RecordBatch[] = [];
    for await (const batch of table.batches()) batches.push(batch);
    return new HeldTable(table, batches);
  }

  get length(): number {
    return this.part.length;
  }

  /** All values of a column as plain ones. @throws GraftError (65) where it is missing */
  values(column: string): unknown[] {
    this.table.requireColumns([column]);
    return this.batches.flatMap((b) => [...b.getChild(column)!].map((v) => (typeof v === 'bigint' ? Number(v) : v)));
  }

  /** The rows of these numbers, in this order. */
  *take(rows: ArrayLike<number>): Generator<RecordBatch> {
    for (let from = 0; from < rows.length; from += BATCH) {
      const length = Math.min(BATCH, rows.length - from);
      const part = new Uint32Array(length), row = new Uint32Array(length);
      for (let i = 0; i < length; i++) {
        part[i] = this.part[rows[from + i]];
        row[i] = this.row[rows[from + i]];
      }
      yield gatherRows(this.table.schema, this.batches, { part, row, length });
    }
  }
}
