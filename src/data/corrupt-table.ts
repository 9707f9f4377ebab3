import { Field, Int32, type RecordBatch, Schema, Utf8, vectorFromArray, type Data } from 'apache-arrow';
import { dataError } from '../errors.js';
import { featuresOf, withFeatures } from '../formats/features.js';
import { assemble } from '../formats/rows.js';
import type { Table } from '../formats/table.js';
import type { Flow } from './columns.js';
import { corrupt, scaleOf, type Corruption, type Scale } from './corruptions/corruption.js';
import type { FrostPhotographs } from './corruptions/frost-photographs.js';
import { fittedPixels, rawShape } from './image.js';
import { rawColumn, rawField } from './import/images.js';
import type { RgbImage } from './raster.js';

export interface CorruptTableOptions {
  corruptions: readonly Corruption[];
  severities: readonly number[];
  seed: number;
  scale?: Scale;
  frost?: FrostPhotographs;
  glass: 'copy' | 'swap';
  /** Whether the table can be read again for every domain. */
  rereadable: boolean;
  /** Height and width to bring the pictures to first. */
  size: [number, number] | null;
}

/**
 * The table once for every corruption and severity, domain after domain, its column `image` raw uint8 pixels, with the
 * columns `domain` and `severity`. A row's noise depends on the seed, the domain and its `id` (without one, its number)
 * only. A file is read once for each domain; standard input is held in memory as it came.
 * @throws GraftError (65) for a picture that is broken or of another size
 */
export async function corruptTable(table: Table, options: CorruptTableOptions): Promise<Flow> {
  table.requireColumns(['image']);
  const source = await repeated(table, options.rereadable || options.corruptions.length * options.severities.length === 1);
  const shape = rawShape(table.schema.fields.find((f) => f.name === 'image')!.metadata);
  const [H, W] = options.size ?? shape?.slice(0, 2) as [number, number] | undefined ?? await firstSize(source, table.name);
  const scale = options.scale ?? scaleOf(H, W);
  const kept = table.schema.fields.map((f, i) => ({ f, i })).filter(({ f }) => !['image', 'domain', 'severity'].includes(f.name));
  const schema = outputSchema(table.schema, [rawField('image', [H, W, 3]), ...kept.map(({ f }) => f), new Field('domain', new Utf8(), false), new Field('severity', new Int32(), false)], options);

  async function* batches(): AsyncGenerator<RecordBatch> {
    for (const corruption of options.corruptions) {
      for (const severity of options.severities) {
        let row = 0;
        for await (const batch of source()) {
          const images = await decode(batch, shape, [H, W], options.size !== null, row, table.name);
          const ids = batch.getChild('id');
          const data = new Uint8Array(images.length * H * W * 3);
          images.forEach((image, i) => data.set(corrupt(image, corruption, {
            severity, seed: options.seed, row: String(ids?.get(i) ?? row + i), scale, frost: options.frost?.[scale], glass: options.glass,
          }), i * H * W * 3));
          row += batch.numRows;
          yield assemble(schema, [
            rawColumn(data, batch.numRows), ...kept.map(({ i }) => batch.data.children[i]),
            constant(new Utf8(), corruption.name, batch.numRows), constant(new Int32(), severity, batch.numRows)], batch.numRows);
        }
      }
    }
  }
  return { schema, batches: batches() };
}

const constant = (type: Utf8 | Int32, value: string | number, length: number): Data => vectorFromArray(Array(length).fill(value), type).data[0];

/** The metadata say what frost is made of, since procedural frost compares with no published number. */
function outputSchema(source: Schema, fields: Field[], options: CorruptTableOptions): Schema {
  const { image: _, ...features } = featuresOf(source);
  const metadata = new Map(source.metadata);
  if (options.corruptions.some((c) => c.name === 'frost')) metadata.set('frost', options.frost ? 'photographs' : 'procedural');
  const schema = new Schema(fields, metadata);
  return source.metadata.has('huggingface') ? withFeatures(schema, features) : schema;
}

type Source = () => AsyncIterable<RecordBatch> | Iterable<RecordBatch>;

async function repeated(table: Table, asItIs: boolean): Promise<Source> {
  if (asItIs) return () => small(table.batches());
  const held: RecordBatch[] = [];
  for await (const batch of small(table.batches())) held.push(batch);
  return () => held;
}

/** Pictures are large: batches of at most this many rows are decoded at once. */
const ROWS = 512;

async function* small(batches: AsyncIterable<RecordBatch>): AsyncGenerator<RecordBatch> {
  for await (const batch of batches) for (let i = 0; i < batch.numRows; i += ROWS) yield batch.slice(i, Math.min(batch.numRows, i + ROWS));
}

async function firstSize(source: Source, name: string): Promise<[number, number]> {
  for await (const batch of source()) {
    const { height, width } = await fittedPixels(batch.getChild('image')!.get(0), null, null, `${name}: row 1`);
    return [height, width];
  }
  throw dataError(`${name}: holds no rows`);
}

async function decode(batch: RecordBatch, shape: readonly number[] | null, [H, W]: [number, number], resize: boolean, row: number, name: string): Promise<RgbImage[]> {
  const column = batch.getChild('image')!;
  return Promise.all(Array.from({ length: batch.numRows }, async (_, i) => {
    const where = `${name}: row ${row + i + 1}`;
    const value = column.get(i);
    const image = await fittedPixels(value && !(value instanceof Uint8Array) && 'toArray' in value ? value.toArray() : value, shape, resize ? [H, W] : null, where);
    if (image.height !== H || image.width !== W) throw dataError(`${where}: its picture is ${image.height}×${image.width}, the first is ${H}×${W}; --size brings all to one size`);
    return image;
  }));
}
