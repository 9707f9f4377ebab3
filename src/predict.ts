import { Field } from 'apache-arrow';
import { scoped } from '@graft/kernels';
import type { Arguments } from './commands/command.js';
import { startCompute } from './compute.js';
import { disposeBatch } from './data/encode.js';
import { usageError } from './errors.js';
import { ArrowWriter } from './formats/arrow.js';
import { readGraft } from './formats/graft.js';
import { writeOutput } from './formats/output.js';
import { batchOf, type Row } from './formats/rows.js';
import type { Table } from './formats/table.js';
import { argmax } from './metrics/classification.js';
import type { Prediction } from './metrics/metric.js';
import type { Example, Objective, Preparation } from './objectives/objective.js';
import { loadObjective } from './objectives/registry.js';
import { carried, prediction, predictionSchema } from './predictions.js';
import { openRuntime } from './runtime.js';

/** Predicts a table with the model, grafts and head of a command line; `--predictions` is written beside. */
export async function predictTable(args: Arguments, table: Table): Promise<{ kind: Prediction['kind']; labels: string[]; rows: AsyncGenerator<Prediction> }> {
  await startCompute(args);
  const runtime = await openRuntime({ model: args.model, grafts: await Promise.all((args.graft as string[]).map(readGraft)) });
  if (!runtime.head) throw usageError(`${args.model}: has no task head; give a graft that has one (graft init-adapter --task)`);
  const objective = await loadObjective(runtime.head.task);
  objective.require(table, {});
  const p: Preparation = { runtime, table, maxLength: args.maxLength ?? (runtime.model.input === 'text' ? runtime.tokenizer.maxLength : 0), options: {}, seed: args.seed };
  const labels = runtime.head.labels ?? [];
  async function* rows(): AsyncGenerator<Prediction> {
    let n = 0;
    const held: Row[][] = [];
    const outputs = args.predictions ? [] as Row[][] : null;
    for await (const batch of table.rows(args.batchSize)) {
      const predicted = await predictRows(objective, batch, n, p);
      for (const [i, row] of predicted.entries()) yield prediction(objective.kind, row, args.by ? String(batch[i][args.by]) : '', `${table.name}: row ${n + i + 1}`);
      n += batch.length;
      if (outputs) { held.push(batch); outputs.push(predicted); }
    }
    if (outputs) await writePredictions(args.predictions, objective.kind, table, labels, held, outputs);
    runtime.dispose();
  }
  return { kind: objective.kind, labels, rows: rows() };
}

/** The prediction columns of some rows. @param first index of the first row, for messages */
export async function predictRows(objective: Objective, rows: readonly Row[], first: number, p: Preparation): Promise<Row[]> {
  return predictExamples(objective, await objective.prepare(rows, first, p), p);
}

/** The same from prepared examples. */
export function predictExamples(objective: Objective, examples: readonly Example[], p: Preparation): Row[] {
  const { inputs, targets } = objective.batch(examples, 0, p);
  const rows = scoped(() => objective.outputs(p.runtime.logits(inputs, {}, targets.positions), examples, targets, p));
  disposeBatch(inputs as never);
  return rows;
}

async function writePredictions(path: string, kind: Prediction['kind'], table: Table, labels: string[], data: Row[][], outputs: Row[][]): Promise<void> {
  const schema = predictionSchema(kind, table.schema, labels);
  const has = (name: string): boolean => schema.fields.some((f: Field) => f.name === name);
  await writeOutput(path, async (out) => {
    const writer = new ArrowWriter(out, schema);
    for (const [b, batch] of data.entries()) {
      await writer.write(batchOf(schema, batch.map((row, i) => {
        const own = outputs[b][i];
        return { ...carried(schema, row, labels), ...own, ...(has('pred') ? { pred: argmax(own.logits as Float32Array), batch: b } : {}) };
      })));
    }
    await writer.close();
  });
}
