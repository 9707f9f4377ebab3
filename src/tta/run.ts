import { scoped, sumOfSquares, tf, type Tensor } from '@graft/kernels';
import type { Arguments } from '../commands/command.js';
import { startCompute } from '../compute.js';
import { dataError, usageError } from '../errors.js';
import { unsoundWeight } from '../finite.js';
import { ArrowWriter } from '../formats/arrow.js';
import { classIndex } from '../formats/features.js';
import { readGraft, writeGraft, type Graft } from '../formats/graft.js';
import { lockFile } from '../formats/lock.js';
import { writeOutput } from '../formats/output.js';
import { openTable, type Row, type Table } from '../formats/table.js';
import { fittedMask } from '../data/mask.js';
import { rawShape } from '../data/image.js';
import { UNLABELLED } from '../metrics/segmentation.js';
import { classBatch, maskBatch, predictionSchema } from '../predictions.js';
import { counted } from '../progress.js';
import { openRuntime, type Runtime } from '../runtime.js';
import { EventLog } from '../training/log.js';
import { entropy } from './losses.js';
import type { Adaptation } from './method.js';
import { Source } from './network.js';
import { pixelsOf, preparation } from './prepared.js';
import { denseNames, loadTta } from './registry.js';
import { readState, stored, writeState } from './state.js';
import { streamBatches } from './stream.js';
import { loadWrapper } from './wrappers.js';

/** `graft tta`: a stream of images in, predictions out, the method adapting in between. */
export async function runTta(args: Arguments): Promise<void> {
  if (!args.model) throw usageError('--model is missing: the checkpoint to adapt');
  const free = args.state ? await lockFile(args.state, args.wait) : () => undefined;
  try {
    await adapt(args);
  } finally {
    free();
  }
}

async function adapt(args: Arguments): Promise<void> {
  await startCompute(args);
  const runtime = await openRuntime({ model: args.model, grafts: await Promise.all((args.graft as string[]).map(readGraft)) });
  const { head } = runtime;
  if (runtime.model.input !== 'image' || (head?.task !== 'classify' && head?.task !== 'segment')) throw usageError(`${args.model}: tta adapts image classifiers and segmentation; this is a ${runtime.model.type}${head ? ` that does '${head.task}'` : ' without a head'}`);
  const dense = head.task === 'segment', method = args.around ? (await loadWrapper(args.around)).wrap(await loadTta(args.method)) : await loadTta(args.method);
  if (dense && (!method.dense || args.around)) throw usageError(`${method.name} adapts classifiers alone; segmentation is adapted by ${(await denseNames()).join(', ')}`);
  const config = Object.fromEntries(Object.keys(method.options).map((name) => [name, args[name]]));
  const source = new Source(runtime.model, runtime.weights, runtime.grafts, head);
  const table = await openTable(args.data ?? '-', { columns: args.columns });
  const columns = ['image', ...(method.columns ?? [])];
  table.requireColumns([...columns, ...(args.resetOn ? [args.resetOn] : [])]);
  const labels = head.labels ?? [];
  const schema = predictionSchema(dense ? 'mask' : 'class', table.schema, labels, { 'graft.method': method.name, 'graft.config': JSON.stringify(config) });
  const indexOf = classIndex(labels, table.classNames('label'));
  const prepared = await preparation(method, config, source, runtime, args);
  const start = (): Adaptation => method.start(source, config, args.seed, prepared);
  let adaptation = start();
  const at = args.state ? await readState(args.state, method.name, adaptation) : { batches: 0, group: null };
  const log = await EventLog.open(args.log);
  await writeOutput(args.output, async (out) => {
    const writer = new ArrowWriter(out, schema);
    const batches = streamBatches(table, args.batchSize, args.resetOn);
    for await (const { rows: given, group } of counted(batches, { label: 'tta', unit: 'image' }, (b) => b.rows.length)) {
      const rows = labels.length === 0 ? given : given.map((r) => ({ ...r, ...(r.label === null || r.label === undefined ? {} : { label: indexOf(r.label) }) }));
      if (at.batches > 0 && (group !== at.group || at.batches % (args.resetEvery ?? Infinity) === 0)) {
        adaptation.dispose();
        adaptation = start();
      }
      const logits = await predict(runtime, source, adaptation, table, rows, columns, at.batches);
      const gold = dense ? await goldMasks(rows, table, source) : rows.map((r) => r.label);
      log.write({ event: 'step', step: at.batches, ...describe(logits, source.classes, gold), ...(args.log ? drift(source, adaptation) : {}) });
      await writer.write(dense ? maskBatch(schema, rows, logits, source.classes, gold) : classBatch(schema, rows, logits, at.batches));
      at.batches++;
      at.group = group;
    }
    await writer.close();
  });
  // Only now that the predictions are there: otherwise the next run would skip what nobody saw.
  if (args.state) await writeState(args.state, method.name, adaptation, at);
  if (args.saveGraft) await writeLearnt(args, runtime, source, adaptation);
  log.close();
  adaptation.dispose();
  tf.dispose([...(prepared?.values() ?? [])]);
  runtime.dispose();
}

async function predict(runtime: Runtime, source: Source, adaptation: Adaptation, table: Table, rows: Row[], columns: readonly string[], batch: number): Promise<Float32Array> {
  const [pixels, ...others] = await Promise.all(columns.map((column) => pixelsOf(rows, table, source, column)));
  const logits = tf.tidy(() => adaptation.step(pixels, others));
  const values = logits.dataSync().slice() as Float32Array;
  tf.dispose([logits, pixels, ...others]);
  if (!values.every(Number.isFinite)) throw unsoundWeight(runtime) ?? dataError(`batch ${batch}: the predictions are not finite; a smaller --lr or a clean --state may help`);
  return values;
}

/** The classes of the pixels of each image, as large as the predictions; null where the data has none. */
async function goldMasks(rows: readonly Row[], table: Table, { model }: Source): Promise<(Uint8Array | null)[]> {
  const shape = rawShape(table.schema.fields.find((f) => f.name === 'mask')?.metadata);
  return Promise.all(rows.map(async ({ mask }, i) => (mask === null || mask === undefined ? null : (await fittedMask(mask, shape, model.imageSize ?? null, `${table.name}: mask of row ${i + 1} of a batch`)).data)));
}

/** What the log says of a batch: mean entropy and confidence, and accuracy where labels are there. @param gold labels, or those of the pixels of each image */
function describe(logits: Float32Array, classes: number, gold: readonly unknown[]): Record<string, number> {
  return tf.tidy(() => {
    const z = tf.tensor2d(logits, [logits.length / classes, classes]);
    const said: Record<string, number> = { entropy: tf.mean(entropy(z)).dataSync()[0], confidence: tf.mean(tf.max(tf.softmax(z), -1)).dataSync()[0] };
    const labels = gold.flatMap((l) => (l instanceof Uint8Array ? Array.from(l, (c) => (c === UNLABELLED ? -1 : c)) : [l]));
    if (labels.every((l): l is number => typeof l === 'number')) {
      const truth = tf.tensor1d(labels, 'int32'), right = tf.sum(tf.cast(tf.equal(tf.argMax(z, -1), truth), 'float32'));
      said.accuracy = tf.div(right, tf.sum(tf.cast(tf.greaterEqual(truth, 0), 'float32'))).dataSync()[0];
    }
    return said;
  });
}

/** ‖θ - θ₀‖₂ / ‖θ₀‖₂ over the parameters the method changes; nothing for one that changes none. */
function drift(source: Source, adaptation: Adaptation): Record<string, number> {
  return scoped((): Record<string, number> => {
    const learnt = adaptation.learnt(), names = source.parameters().filter((n) => learnt.has(n));
    if (names.length === 0) return {};
    const norm = (tensors: Tensor[]): number => Math.sqrt(sumOfSquares(tensors).dataSync()[0]);
    return { drift: norm(names.map((n) => tf.sub(learnt.get(n)!, source.value(n)))) / norm(names.map((n) => source.value(n))) };
  });
}

async function writeLearnt(args: Arguments, runtime: Runtime, source: Source, adaptation: Adaptation): Promise<void> {
  const { method, config, tensors } = scoped(() => {
    const own = adaptation.graft?.() ?? { method: 'full', config: {}, tensors: whole(args.method, source, adaptation) };
    return { ...own, tensors: new Map(stored(own.tensors)) };
  });
  const head = method === 'full' ? runtime.head : null; // its tensors are among those of `full` alone
  const graft: Graft = { method, config, base: runtime.checkpoint.fingerprint(), head, history: [args.commandLine], tensors };
  await writeOutput(args.saveGraft, (out) => writeGraft(out, graft));
}

/** A graft of method `full` holds every tensor; those the method left alone are the source's. */
function whole(method: string, source: Source, adaptation: Adaptation): Map<string, Tensor> {
  const learnt = adaptation.learnt();
  if (learnt.size === 0) throw usageError(`--save-graft: ${method} learns nothing that could be saved`);
  return new Map([...source.parameters(), ...source.buffers()].map((name) => [name, learnt.get(name) ?? source.value(name)]));
}
