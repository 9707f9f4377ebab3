import { scoped, tf } from '@graft/kernels';
import type { Schema } from 'apache-arrow';
import type { Arguments } from './commands/command.js';
import { startCompute } from './compute.js';
import { disposeBatch } from './data/encode.js';
import { prepareRows, routeOf } from './data/route.js';
import { dataError, GraftError, usageError } from './errors.js';
import { unsoundWeight } from './finite.js';
import { ArrowWriter } from './formats/arrow.js';
import { readGraft } from './formats/graft.js';
import { openOutput, writeOutput, type Output } from './formats/output.js';
import { batchOf, type Row } from './formats/rows.js';
import type { Table } from './formats/table.js';
import { argmax } from './metrics/classification.js';
import type { Prediction } from './metrics/metric.js';
import type { Example, Objective, Preparation } from './objectives/objective.js';
import { loadObjective } from './objectives/registry.js';
import { IGNORED } from './objectives/scored.js';
import { carried, prediction, predictionSchema } from './predictions.js';
import { counted } from './progress.js';
import { openRuntime, type Runtime } from './runtime.js';

/** Predicts a table with the model, grafts and head of a command line, and gives what metrics take; `--predictions` is written beside. */
export async function predictTable(args: Arguments, table: Table): Promise<{ kind: Prediction['kind']; labels: string[]; rows: AsyncGenerator<Prediction> }> {
  const { runtime, objective, labels, p } = await open(args, table);
  objective.require(table, {});
  async function* rows(): AsyncGenerator<Prediction> {
    const beside = args.predictions ? new PredictionFile(openOutput(args.predictions), predictionSchema(objective.kind, table.schema, labels)) : null;
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

/** `graft predict`: the predictions of rows that need no labels, written a batch at a time. @throws GraftError (usage) for a head whose predictions need a target */
export async function writePredictions(args: Arguments, table: Table): Promise<void> {
  const { runtime, objective, labels, p } = await open(args, table);
  const keep: string[] = (args.keep ?? '').split(',').filter((name: string) => name !== '');
  if (!objective.reads) throw usageError(`${args.model}: its head does '${runtime.head!.task}'; predict is for classify, tag and segment (graft generate continues texts, graft eval measures likelihoods)`);
  table.requireColumns([...objective.reads(table), ...keep]);
  const schema = predictionSchema(objective.kind, table.schema, labels, {}, keep);
  const taken = keep.find((name) => schema.fields.filter((f) => f.name === name).length > 1);
  if (taken) throw usageError(`--keep ${taken}: predictions have a column of this name; --columns NEW=${taken} gives that of the data another`);
  await writeOutput(args.output, async (out) => {
    const file = new PredictionWriter(out, schema);
    let n = 0;
    for await (const batch of counted(table.rows(args.batchSize), { label: 'predict', unit: 'row' }, (rows) => rows.length)) {
      await file.write(batch, await predictRows(objective, batch, n, { ...p, unlabelled: true }));
      n += batch.length;
    }
    if (n === 0) throw dataError(`${table.name}: has no rows`);
    await file.close();
  });
  runtime.dispose();
}

async function open(args: Arguments, table: Table): Promise<{ runtime: Runtime; objective: Objective; labels: string[]; p: Preparation }> {
  await startCompute(args);
  const runtime = await openRuntime({ model: args.model, grafts: await Promise.all((args.graft as string[]).map(readGraft)) });
  if (!runtime.head) throw usageError(`${args.model}: has no task head; give a graft that has one (graft init-adapter --task)`);
  const maxLength = args.maxLength ?? (runtime.model.input === 'text' ? runtime.tokenizer.maxLength : 0);
  return { runtime, objective: await loadObjective(runtime.head.task), labels: runtime.head.labels ?? [], p: { runtime, table, maxLength, options: {}, seed: args.seed } };
}

/** The prediction columns of some rows. @param first index of the first row, for messages */
async function predictRows(objective: Objective, rows: readonly Row[], first: number, p: Preparation): Promise<Row[]> {
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

/** Predictions as a table, a batch at a time. */
class PredictionWriter {
  private readonly writer: ArrowWriter;
  private batches = 0;

  constructor(out: Output, private readonly schema: Schema) {
    this.writer = new ArrowWriter(out, schema);
  }

  /** @param data the rows that were predicted @param outputs the prediction columns of each */
  async write(data: readonly Row[], outputs: readonly Row[]): Promise<void> {
    const { schema } = this, batch = this.batches++;
    const classes = schema.names.includes('pred');
    await this.writer.write(batchOf(schema, data.map((row, i) => {
      const own = outputs[i], label = own.label === IGNORED ? null : own.label;
      return { ...row, ...carried(schema, row), ...own, ...(classes ? { label, pred: argmax(own.logits as Float32Array), batch } : {}) };
    })));
  }

  async close(): Promise<void> {
    await this.writer.close();
  }
}

/** Predictions written beside what is measured. */
class PredictionFile extends PredictionWriter {
  constructor(private readonly out: Output, schema: Schema) {
    super(out, schema);
  }

  override async close(): Promise<void> {
    await super.close();
    await this.out.commit();
  }

  abort(): void {
    this.out.abort();
  }
}
