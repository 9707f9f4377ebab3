import { scoped, tf } from '@graft/kernels';
import type { Arguments } from './commands/command.js';
import { startCompute } from './compute.js';
import { disposeBatch } from './data/encode.js';
import { prepareRows, routeOf } from './data/route.js';
import { GraftError, usageError } from './errors.js';
import { unsoundWeight } from './finite.js';
import { ArrowWriter } from './formats/arrow.js';
import { readGraft } from './formats/graft.js';
import { openOutput, type Output } from './formats/output.js';
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
    const beside = args.predictions ? new PredictionFile(args.predictions, objective.kind, table, labels) : null;
    try {
      let n = 0;
      for await (const batch of table.rows(args.batchSize)) {
        const predicted = await predictRows(objective, batch, n, p);
        for (const [i, row] of predicted.entries()) yield prediction(objective.kind, row, args.by ? String(batch[i][args.by]) : '', `${table.name}: row ${n + i + 1}`);
        n += batch.length;
        await beside?.write(batch, predicted);
      }
      await beside?.close();
    } finally {
      beside?.abort();
      runtime.dispose();
    }
  }
  return { kind: objective.kind, labels, rows: rows() };
}

/** The prediction columns of some rows. @param first index of the first row, for messages */
export async function predictRows(objective: Objective, rows: readonly Row[], first: number, p: Preparation): Promise<Row[]> {
  return predictExamples(objective, await prepareRows(objective, rows, first, p), p);
}

/** The same from prepared examples. */
export function predictExamples(objective: Objective, examples: readonly Example[], p: Preparation): Row[] {
  const { inputs, targets } = objective.batch(examples, 0, p);
  const rows = scoped(() => {
    const pass = p.runtime.forward({ route: routeOf(examples), losses: objective.losses?.(targets, p.options) }), logits = p.runtime.logitsOf(pass, inputs, targets.positions);
    const values = pass.scored ?? logits;
    if (!Number.isFinite(tf.sum(values).dataSync()[0])) throw unsoundWeight(p.runtime) ?? new GraftError(`${p.table.name}: the predictions are not finite; the graft may have diverged in training`);
    return objective.outputs(values, examples, targets, p);
  });
  disposeBatch(inputs as never);
  return rows;
}

/** Predictions written beside what is measured, a batch at a time. */
class PredictionFile {
  private readonly out: Output;
  private readonly writer: ArrowWriter;
  private batches = 0;

  constructor(path: string, kind: Prediction['kind'], table: Table, labels: string[]) {
    this.out = openOutput(path);
    this.writer = new ArrowWriter(this.out, predictionSchema(kind, table.schema, labels));
  }

  async write(data: readonly Row[], outputs: readonly Row[]): Promise<void> {
    const { schema } = this.writer, batch = this.batches++;
    const classes = schema.names.includes('pred');
    await this.writer.write(batchOf(schema, data.map((row, i) => {
      const own = outputs[i];
      return { ...carried(schema, row), ...own, ...(classes ? { pred: argmax(own.logits as Float32Array), batch } : {}) };
    })));
  }

  async close(): Promise<void> {
    await this.writer.close();
    await this.out.commit();
  }

  abort(): void {
    this.out.abort();
  }
}
