import { Binary, Field, makeData, Schema, Struct, Utf8, type Data } from 'apache-arrow';
import { dataError, usageError } from '../../errors.js';
import { withMedia } from '../../formats/features.js';
import type { Row } from '../../formats/rows.js';
import { decodeImage, fittedPixels } from '../image.js';
import { batched, eachInput, type Imported, type Importer } from './importer.js';
import { memberOptions, members, PathColumns } from './members.js';
import type { ImportInput } from './input.js';
import type { Member } from './tar.js';

const IMAGE = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heif)$/i;

export const images: Importer = {
  name: 'images',
  summary: 'pictures in a folder, a tar archive or a file; the class is the name of the folder they are in',
  extensions: ['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif'],
  options: {
    raw: { type: 'boolean', describe: 'write decoded pixels (uint8, height × width × 3) instead of the encoded bytes', default: false },
    size: { type: 'string', metavar: 'H[,W]', describe: 'with --raw: resize to this' },
    ...memberOptions,
  },
  async read(inputs, options) {
    const columns = new PathColumns(options.pattern as string);
    return options.raw ? raw(inputs, columns, parseSize(options.size as string | undefined)) : encoded(inputs, columns);
  },
};

/** Encoded media and where they came from, as `datasets` writes Image and Audio columns. */
export const mediaField = (name: string): Field =>
  new Field(name, new Struct([new Field('bytes', new Binary(), true), new Field('path', new Utf8(), true)]), true);

export const texts = (names: readonly string[]): Field[] => names.map((n) => new Field(n, new Utf8(), true));

/** Raw uint8 pixels, HWC, all of the shape in the metadata. Plain binary, the type every reader knows. */
export const rawField = (name: string, shape: readonly number[]): Field => new Field(name, new Binary(), false, new Map([['shape', shape.join(',')]]));

/** A column of such pixels, image after image. */
export const rawColumn = (data: Uint8Array, rows: number): Data =>
  makeData({ type: new Binary(), length: rows, nullCount: 0, valueOffsets: Int32Array.from({ length: rows + 1 }, (_, i) => (i * data.length) / rows), data });

function encoded(inputs: readonly ImportInput[], columns: PathColumns): Imported {
  const schema = withMedia(new Schema([mediaField('image'), ...texts(columns.names)]), 'image', 'Image');
  const rows = eachInput(inputs, async function* (input): AsyncGenerator<Row> {
    for await (const { path, bytes } of members(input, IMAGE, 'pictures')) yield { image: { bytes, path }, ...columns.of(path, input.name) };
  });
  return { schema, batches: batched(schema, rows, (row) => (row.image as { bytes: Uint8Array }).bytes.length) };
}

async function raw(inputs: readonly ImportInput[], columns: PathColumns, size: [number, number] | null): Promise<Imported> {
  const [H, W] = size ?? await firstSize(inputs[0]);
  const schema = new Schema([rawField('image', [H, W, 3]), new Field('path', new Utf8(), true), ...texts(columns.names)]);
  const pixels = async ({ path, bytes }: Member, where: string): Promise<Row> => {
    const { data, height, width } = await fittedPixels(bytes, null, size, where);
    if (height !== H || width !== W) throw dataError(`${where}: is ${height}×${width} where the first picture is ${H}×${W}; --size brings all to one size`);
    return { image: data, path, ...columns.of(path, where) };
  };
  const rows = eachInput(inputs, (input) => ahead(members(input, IMAGE, 'pictures'), (m) => pixels(m, `${input.name}: ${m.path}`)));
  return { schema, batches: batched(schema, rows, () => H * W * 3) };
}

/** Results in the order of the items, a few of them under way at once. */
async function* ahead<T, R>(items: AsyncIterable<T>, work: (item: T) => Promise<R>): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  for await (const item of items) {
    const result = work(item);
    result.catch(() => {}); // reported where it is awaited
    running.push(result);
    if (running.length === AT_ONCE) yield await running.shift()!;
  }
  while (running.length > 0) yield await running.shift()!;
}

const AT_ONCE = 8;

async function firstSize(input: ImportInput): Promise<[number, number]> {
  await input.keep();
  for await (const { path, bytes } of members(input, IMAGE, 'pictures')) {
    const { height, width } = await decodeImage(bytes, `${input.name}: ${path}`);
    return [height, width];
  }
  throw dataError(`${input.name}: holds no pictures`);
}

/** `H` or `H,W`. @throws GraftError (usage) */
export function parseSize(text: string | undefined): [number, number] | null {
  if (text === undefined) return null;
  const sizes = text.split(/[,x]/).map(Number);
  if (sizes.length > 2 || sizes.some((n) => !Number.isInteger(n) || n < 1)) throw usageError(`--size ${text}: write it as H,W in pixels`);
  return [sizes[0], sizes[1] ?? sizes[0]];
}
