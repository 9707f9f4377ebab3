import { Field, Int32, Schema } from 'apache-arrow';
import { dataError } from '../../errors.js';
import { ByteReader } from '../../formats/bytes.js';
import type { Row } from '../../formats/rows.js';
import { rawField } from './images.js';
import { batched, type Importer } from './importer.js';
import type { ImportInput } from './input.js';

/** MNIST's format: images (idx3 or idx4, uint8) and, as a second operand, their labels (idx1). */
export const idx: Importer = {
  name: 'idx',
  summary: 'IDX images and their labels, as MNIST: IMAGES [LABELS]',
  extensions: ['-ubyte', '.idx'],
  options: {},
  together: true,
  recognises: (head) => head[0] === 0 && head[1] === 0 && head[2] === 8 && head[3] >= 1 && head[3] <= 4,
  async read(inputs) {
    const files = await Promise.all(inputs.map(openIdx));
    for (const [i, f] of files.entries()) {
      if (f.shape[0] !== files[0].shape[0]) throw dataError(`${f.name}: has ${f.shape[0]} records where ${files[0].name} has ${files[0].shape[0]}`);
      if (files.findIndex((g) => column(g.shape) === column(f.shape)) !== i) throw dataError(`${f.name}: a second file of ${column(f.shape)}s; give IMAGES LABELS`);
    }
    const schema = new Schema(files.map(({ shape }) => (column(shape) === 'label' ? new Field('label', new Int32(), false) : rawField('image', imageShape(shape)))));
    return { schema, batches: batched(schema, rows(files), (row) => (row.image as Uint8Array | undefined)?.length ?? 0) };
  },
};

interface IdxFile { name: string; shape: number[]; reader: ByteReader }

async function openIdx(input: ImportInput): Promise<IdxFile> {
  const reader = new ByteReader(input.bytes(), () => dataError(`${input.name}: the IDX data is cut short`));
  const magic = await reader.take(4);
  if (magic[0] !== 0 || magic[1] !== 0 || magic[2] !== 8 || magic[3] < 1 || magic[3] > 4) throw dataError(`${input.name}: is not IDX of unsigned bytes in 1 to 4 dimensions`);
  const sizes = await reader.take(4 * magic[3]);
  const view = new DataView(sizes.buffer, sizes.byteOffset);
  const shape = Array.from({ length: magic[3] }, (_, i) => view.getUint32(4 * i));
  if (shape.includes(0)) throw dataError(`${input.name}: holds no records, or empty ones: ${shape.join('×')}`);
  return { name: input.name, shape, reader };
}

const column = (shape: readonly number[]): string => (shape.length === 1 ? 'label' : 'image');

/** Grey images have one channel; two dimensions are a row of pixels. */
const imageShape = ([, ...s]: readonly number[]): number[] => (s.length === 1 ? [1, s[0], 1] : s.length === 2 ? [...s, 1] : s);

async function* rows(files: IdxFile[]): AsyncGenerator<Row> {
  const size = ({ shape }: IdxFile): number => shape.slice(1).reduce((a, b) => a * b, 1);
  for (let n = files[0].shape[0]; n > 0; n--) {
    const row: Row = {};
    for (const f of files) {
      const bytes = await f.reader.take(size(f));
      row[column(f.shape)] = column(f.shape) === 'label' ? bytes[0] : bytes;
    }
    yield row;
  }
  for (const f of files) if ((await f.reader.peek(1)).length > 0) throw dataError(`${f.name}: goes on after its ${f.shape[0]} records`);
}
