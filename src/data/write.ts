import type { RecordBatch, Schema } from 'apache-arrow';
import { ArrowWriter } from '../formats/arrow.js';
import { openOutput, type Output } from '../formats/output.js';
import { counted } from '../progress.js';

type Batches = AsyncIterable<RecordBatch> | Iterable<RecordBatch>;

/** Writes a table as an Arrow stream, whole or not at all. */
export async function writeTable(path: string | undefined, schema: Schema, batches: Batches): Promise<void> {
  await writeTables([{ path, schema, batches }]);
}

/** Writes several tables, all of them or none. */
export async function writeTables(tables: readonly { path: string | undefined; schema: Schema; batches: Batches }[]): Promise<void> {
  const outputs: Output[] = [];
  try {
    for (const { path, schema, batches } of tables) {
      const out = openOutput(path);
      outputs.push(out);
      const writer = new ArrowWriter(out, schema);
      for await (const batch of counted(batches, { label: 'data', unit: 'row' }, (b) => b.numRows)) if (batch.numRows > 0) await writer.write(batch);
      await writer.close();
    }
    for (const out of outputs) await out.commit();
  } catch (error) {
    for (const out of outputs) out.abort();
    throw error;
  }
}
