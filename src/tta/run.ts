import { tf, type Tensor } from '@graft/kernels';
import type { Arguments } from '../commands/command.js';
import { startCompute } from '../compute.js';
import { imageBatch, rawShape } from '../data/image-input.js';
import { dataError, usageError } from '../errors.js';
import { ArrowWriter } from '../formats/arrow.js';
import { readGraft, storeTensor, writeGraft, loadTensor, type Graft } from '../formats/graft.js';
import { writeOutput } from '../formats/output.js';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import { readInput } from '../formats/input.js';
import { openTable, type Row, type Table } from '../formats/table.js';
import { classBatch, predictionSchema } from '../predictions.js';
import { openRuntime, type Runtime } from '../runtime.js';
import { EventLog } from '../training/log.js';
import { entropy } from './tent.js';
import type { Adaptation, TtaMethod } from './method.js';
import { Source } from './network.js';
import { loadTta } from './registry.js';
import { existsSync } from 'node:fs';

/** `graft tta`: a stream of images in, predictions out, the method adapting in between. */
export async function runTta(args: Arguments): Promise<void> {
  if (!args.model) throw usageError('--model is missing: the checkpoint to adapt');
  await startCompute(args);
  const grafts = await Promise.all((args.graft as string[]).map(readGraft));
  const runtime = await openRuntime({ model: args.model, grafts });
  const { head } = runtime;
  if (runtime.model.input !== 'image' || head?.task !== 'classify') throw usageError(`${args.model}: tta adapts image classifiers; this is a ${runtime.model.type}`);
  const method = await loadTta(args.method);
  const config = Object.fromEntries(Object.keys(method.options).map((name) => [name, args[name]]));
  const start = (): Adaptation => method.start(new Source(runtime.model, runtime.weights, runtime.grafts, head), config, args.seed);
  const log = new EventLog(args.log);
  const table = await openTable(args.data ?? '-', { columns: args.columns });
  table.requireColumns(['image', ...(args.resetOn ? [args.resetOn] : [])]);
  const schema = predictionSchema('class', table.schema, head.labels ?? [], { 'graft.method': method.name, 'graft.config': JSON.stringify(config) });
  let adaptation = start();
  if (args.state && existsSync(args.state)) await readState(args.state, method, adaptation);
  let batch = 0;
  await writeOutput(args.output, async (out) => {
    const writer = new ArrowWriter(out, schema);
    for await (const { rows, first } of groups(table.rows(args.batchSize), args.resetOn)) {
      if (first && batch > 0) adaptation = start();
      const logits = await predict(runtime, adaptation, table, rows, batch);
      log.write({ event: 'step', step: batch, ...describe(logits, rows) });
      await writer.write(classBatch(schema, rows, logits, batch++, head.labels ?? []));
    }
    await writer.close();
    // The state is kept only when the predictions are: otherwise the next run would skip what nobody saw.
    if (args.state) await writeState(args.state, method, adaptation);
  });
  if (args.saveGraft) await writeLearnt(args, runtime, adaptation);
  log.close();
}

/** Batches of rows; `first` where the value of `column` begins, which no batch straddles. */
async function* groups(batches: AsyncIterable<Row[]>, column: string | undefined): AsyncGenerator<{ rows: Row[]; first: boolean }> {
  let last: unknown;
  for await (const rows of batches) {
    if (column === undefined) {
      yield { rows, first: false };
      continue;
    }
    for (let from = 0; from < rows.length;) {
      const value = rows[from][column];
      let to = from + 1;
      while (to < rows.length && rows[to][column] === value) to++;
      yield { rows: rows.slice(from, to), first: value !== last };
      last = value;
      from = to;
    }
  }
}

async function predict(runtime: Runtime, adaptation: Adaptation, table: Table, rows: Row[], batch: number): Promise<Float32Array> {
  const shape = rawShape(table.schema.fields.find((f) => f.name === 'image')?.metadata);
  const { pixels } = await imageBatch(rows, shape, runtime.model.imageSize ?? null);
  const logits = tf.tidy(() => adaptation.step(pixels));
  const values = logits.dataSync().slice() as Float32Array;
  tf.dispose([logits, pixels]);
  if (!values.every(Number.isFinite)) throw dataError(`batch ${batch}: the predictions are not finite; a smaller --lr or a clean --state may help`);
  return values;
}

/** What the log says of a batch: mean entropy and confidence, and accuracy where labels are there. */
function describe(logits: Float32Array, rows: Row[]): Record<string, number> {
  return tf.tidy(() => {
    const z = tf.tensor2d(logits, [rows.length, logits.length / rows.length]);
    const said: Record<string, number> = { entropy: tf.mean(entropy(z)).dataSync()[0], confidence: tf.mean(tf.max(tf.softmax(z), -1)).dataSync()[0] };
    const labels = rows.map((r) => r.label);
    if (labels.every((l) => typeof l === 'number')) said.accuracy = tf.mean(tf.cast(tf.equal(tf.argMax(z, -1), tf.tensor1d(labels, 'int32')), 'float32')).dataSync()[0];
    return said;
  });
}

async function writeState(path: string, method: TtaMethod, adaptation: Adaptation): Promise<void> {
  const tensors = stored(adaptation.state());
  await writeOutput(path, (out) => writeSafetensors(out, tensors.map(([name, { data, ...t }]) => ({ name, ...t, data: () => data })), { 'graft.tta': method.name }));
}

async function readState(path: string, method: TtaMethod, adaptation: Adaptation): Promise<void> {
  const { metadata, tensors } = readSafetensors(await readInput(path), path);
  if (metadata['graft.tta'] !== method.name) throw dataError(`${path}: is the state of ${metadata['graft.tta'] ?? 'something else'}, not of ${method.name}; remove it to start afresh`);
  const expected = adaptation.state();
  for (const [name, t] of expected) {
    const found = tensors.get(name);
    if (!found || found.shape.join() !== t.shape.join()) throw dataError(`${path}: does not fit this model: '${name}' is ${found ? `[${found.shape}], not [${t.shape}]` : 'missing'}`);
  }
  tf.tidy(() => adaptation.restore(new Map([...tensors].map(([name, t]) => [name, loadTensor(name, t)]))));
}

async function writeLearnt(args: Arguments, runtime: Runtime, adaptation: Adaptation): Promise<void> {
  const graft: Graft = {
    method: 'full', config: {}, base: runtime.checkpoint.fingerprint(), head: runtime.head, history: [args.commandLine],
    tensors: new Map(stored(adaptation.learnt())),
  };
  await writeOutput(args.saveGraft, (out) => writeGraft(out, graft));
}

const stored = (tensors: ReadonlyMap<string, Tensor>): [string, ReturnType<typeof storeTensor>][] => [...tensors].map(([name, t]) => [name, storeTensor(t)]);
