import { tf, type Tensor, type Tensor4D } from '@graft/kernels';
import { existsSync } from 'node:fs';
import type { Arguments } from '../commands/command.js';
import { imageBatch, rawShape } from '../data/image-input.js';
import { dataError, usageError } from '../errors.js';
import { classIndex } from '../formats/features.js';
import { loadTensor } from '../formats/graft.js';
import { readInput } from '../formats/input.js';
import { readSafetensors } from '../formats/safetensors.js';
import { openTable, type Row, type Table } from '../formats/table.js';
import type { OptionSpec, OptionValues } from '../options.js';
import type { Runtime } from '../runtime.js';
import type { Prepared, SourceBatch, TtaMethod } from './method.js';
import type { Source } from './network.js';
import { writeTensors } from './state.js';
import { streamBatches } from './stream.js';

/** The option of methods that learn something from images of the source domain. */
export const sourceOption = (use: string) => ({ type: 'string', metavar: 'FILE', describe: `images of the source domain, ${use}` }) as const satisfies OptionSpec;

/** What a method learns beforehand: read from --prepared where that file is there, else learnt from --source-data and written to it. */
export async function preparation(method: TtaMethod, config: OptionValues, source: Source, runtime: Runtime, args: Arguments): Promise<Prepared | undefined> {
  const { prepared: file, seed } = args, data = config.sourceData as string | undefined;
  if (!method.prepare) {
    if (file) throw usageError(`--prepared: ${method.name} learns nothing beforehand`);
    return undefined;
  }
  const base = runtime.checkpoint.fingerprint().headers;
  if (file && existsSync(file)) return readPrepared(file, method.name, base);
  if (!data) {
    if (file) throw usageError(`--prepared: ${file} is not there; --source-data is needed to make it`);
    if (method.needsSource) throw usageError(`${method.name} needs --source-data, images of the source domain`);
    return undefined;
  }
  const batches = await sourceBatches(data, method, source, args);
  const learnt = method.prepare(source, batches, config, seed);
  tf.dispose(batches.flatMap(({ pixels, labels }) => (labels ? [pixels, labels] : [pixels])));
  if (file) await writeTensors(file, () => learnt, { 'graft.prepared': method.name, 'graft.base': base });
  return learnt;
}

/** The images of the source domain, all of them held at once. */
async function sourceBatches(path: string, method: TtaMethod, source: Source, args: Arguments): Promise<SourceBatch[]> {
  const table = await openTable(path, { columns: args.columns });
  table.requireColumns(['image', ...(method.labelled ? ['label'] : []), ...(method.domains ? ['domain'] : [])]);
  const classes = source.head.labels ?? Array.from({ length: source.classes }, (_, i) => String(i));
  const names = table.classNames('label'), indexOf = classIndex(classes, names);
  const batches: SourceBatch[] = [];
  let first = 1;
  for await (const { rows } of streamBatches(table, args.batchSize)) {
    const labels = rows.map((r) => indexOf(r.label)), unknown = labels.indexOf(-1);
    if (method.labelled && unknown >= 0) {
      const { label } = rows[unknown];
      throw dataError(`${path}: row ${first + unknown}: label ${JSON.stringify(names?.[label as number] ?? label)} is none of the model's ${classes.length} classes (${classes.slice(0, 5).join(', ')}${classes.length > 5 ? ', …' : ''})`);
    }
    first += rows.length;
    batches.push({ pixels: await pixelsOf(rows, table, source), ...(unknown < 0 ? { labels: tf.tensor1d(labels, 'int32') } : {}), ...(method.domains ? { domains: rows.map((r) => String(r.domain)) } : {}) });
  }
  if (batches.length === 0) throw dataError(`${path}: holds no image of the source domain`);
  return batches;
}

/** The pixels of rows as the model takes them: [B, H, W, 3] in [0, 1]. */
export const pixelsOf = async (rows: Row[], table: Table, source: Source, column = 'image'): Promise<Tensor4D> =>
  (await imageBatch(column === 'image' ? rows : rows.map((row) => ({ image: row[column] })), rawShape(table.schema.fields.find((f) => f.name === column)?.metadata), source.model.imageSize ?? null)).pixels;

async function readPrepared(path: string, method: string, base: string): Promise<Map<string, Tensor>> {
  const { metadata, tensors } = readSafetensors(await readInput(path), path);
  const { 'graft.prepared': of = 'nothing', 'graft.base': on } = metadata;
  if (of !== method) throw dataError(`${path}: was prepared for ${of}, not for ${method}; remove it to start afresh`);
  if (on !== base) throw dataError(`${path}: was prepared for another model; remove it to start afresh`);
  return new Map([...tensors].map(([name, t]) => [name, loadTensor(name, t)]));
}
