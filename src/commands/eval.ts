import { writeOutput, type Output } from '../formats/output.js';
import { dataError, usageError } from '../errors.js';
import type { Meter, Measured } from '../metrics/meter.js';
import type { Prediction } from '../metrics/metric.js';
import type { Arguments, Command } from './command.js';
import { common, computing } from './common.js';

const command: Command = {
  name: 'eval',
  summary: 'measure predictions',
  description: [
    'Measures predictions and prints one JSON object a metric. With --model it predicts the data itself, with the head of the last graft or of the checkpoint; without, it reads predictions as graft predict, graft tta and graft eval --predictions write them.',
    'Every metric is computed over all rows and, with --by, for each value of a column and as the mean over these. --bootstrap adds 95 % intervals.',
  ],
  options: {
    ...common('model', 'graft', 'data', 'columns', 'output', 'deps', 'batchSize'),
    metrics: { type: 'string', metavar: 'NAME,...', describe: 'which metrics; default: those that suit the task', suggest: async () => (await import('../metrics/registry.js')).metricNames() },
    by: { type: 'string', metavar: 'COLUMN', describe: 'measure each value of this column apart, too' },
    bootstrap: { type: 'number', metavar: 'N', describe: 'replicates for 95 % intervals (Poisson bootstrap over rows)', default: 0, min: 0, max: 100000 },
    predictions: { type: 'string', incidental: true, writes: true, metavar: 'FILE', describe: 'with --model: write the predictions there' },
    maxLength: { type: 'number', metavar: 'N', describe: 'longest text in tokens; default: what the tokeniser says', min: 1 },
    ...computing(),
  },
  examples: [
    { does: 'accuracy of a graft on a test set', command: 'graft eval -m minilm/ -g topic.safetensors -d test.arrow' },
    { does: 'error by corruption, of the model as it is and adapted', command: 'graft tta -m resnet/ --method source -d shifted.arrow | graft eval --metrics error --by domain -o source.jsonl && graft tta -m resnet/ --method tent -d shifted.arrow | graft eval --metrics error --by domain -o tent.jsonl' },
  ],
  run: async (args) => {
    const { openTable } = await import('../formats/table.js');
    const table = await openTable(args.data ?? '-', { columns: args.columns });
    await writeOutput(args.output, (out) => (args.model ? fromModel(args, table, out) : fromTable(args, table, out)), { text: true });
  },
};

export default command;

type Table = import('../formats/table.js').Table;

async function fromTable(args: Arguments, table: Table, out: Output): Promise<void> {
  if (args.predictions) throw usageError('--predictions needs --model: there is nothing to predict with');
  const { predictionKind, predictionLabels, readPredictions } = await import('../predictions.js');
  const rows = readPredictions(table, args.by), first = await rows.next(), named = predictionLabels(table);
  // Predictions made elsewhere may not say what the classes are called: their logits say how many there are.
  const labels = named.length === 0 && !first.done && first.value.kind === 'class' ? Array.from(first.value.logits, (_, c) => String(c)) : named;
  const meter = await openMeter(args, predictionKind(table), labels);
  await measure(first.done ? rows : from(first.value, rows), meter);
  await print(out, meter.results());
}

/** The rows from the first on. */
async function* from(first: Prediction, rest: AsyncIterable<Prediction>): AsyncGenerator<Prediction> {
  yield first;
  yield* rest;
}

async function fromModel(args: Arguments, table: Table, out: Output): Promise<void> {
  const { predictTable } = await import('../predict.js');
  const run = await predictTable(args, table);
  const meter = await openMeter(args, run.kind, run.labels);
  await measure(run.rows, meter);
  await print(out, meter.results());
}

async function measure(rows: AsyncIterable<Prediction>, meter: Meter): Promise<void> {
  const { counted } = await import('../progress.js');
  let n = 0;
  for await (const row of counted(rows, { label: 'eval', unit: 'row' }, () => 1)) {
    meter.add(row);
    n++;
  }
  if (n === 0) throw dataError('there are no rows to measure');
}

async function openMeter(args: Arguments, kind: Prediction['kind'], labels: string[]): Promise<Meter> {
  const [{ Meter }, { chooseMetrics }] = await Promise.all([import('../metrics/meter.js'), import('../metrics/registry.js')]);
  const names = (args.metrics ?? '').split(',').filter((n: string) => n !== '');
  return new Meter(chooseMetrics(names, kind), { names: labels }, args.bootstrap, args.seed);
}

async function print(out: Output, results: Measured[]): Promise<void> {
  for (const r of results) await out.write(`${JSON.stringify(r)}\n`);
}
