import { Rng, tf } from '@graft/kernels';
import { Schema, type Field, type RecordBatch } from 'apache-arrow';
import { fittedPixels, rawShape } from '../data/image.js';
import { rawColumn, rawField } from '../data/import/images.js';
import { inParts } from '../data/parts.js';
import type { Flow } from '../data/columns.js';
import { featuresOf, withFeatures } from '../formats/features.js';
import { assemble, rowsOf } from '../formats/rows.js';
import type { Table } from '../formats/table.js';
import type { Denoiser } from './denoiser.js';
import { normalised, pixelBytes } from './images.js';
import { lowPassMatrix } from './low-pass.js';
import { project, type Projection } from './project.js';
import { levels } from './schedule.js';

export interface ProjectOptions extends Pick<Projection, 'weight' | 'from' | 'normOver'> {
  steps: number;
  /** D */
  down: number;
  /** The column that is written, beside `image` or in its place. */
  into: string;
  seed: number;
  batchSize: number;
}

/**
 * The table with its images projected by a diffusion model under no condition. A row's noise depends on the seed and its `id` (without one, its
 * number) only.
 * @param denoiser one whose passes are recorded
 * @throws GraftError (65) for a picture that is broken
 */
export function projectTable(table: Table, denoiser: Denoiser, { steps, down, into, seed, batchSize, ...o }: ProjectOptions): Flow {
  table.requireColumns(['image']);
  const [H, W, channels] = denoiser.shape, all = levels(denoiser.schedule, steps);
  const shape = rawShape(table.schema.fields.find((f) => f.name === 'image')!.metadata);
  const filter = [lowPassMatrix(H, down), lowPassMatrix(W, down)] as const;
  const kept = table.schema.fields.map((f, i) => ({ f, i })).filter(({ f }) => f.name !== into);
  const schema = schemaOf(table.schema, [rawField(into, [H, W, 3]), ...kept.map(({ f }) => f)], into);
  async function* batches(): AsyncGenerator<RecordBatch> {
    let first = 0;
    for await (const batch of inParts(table, batchSize)) {
      const rows = rowsOf(batch), images = await Promise.all(rows.map((row, i) => fittedPixels(row.image, shape, [H, W], `${table.name}: row ${first + i + 1}`)));
      const x0 = tf.tensor4d(normalised(images, channels), [rows.length, H, W, channels]);
      const result = project(x0, (x, level) => denoiser.clean(x, denoiser.noise(x, level.t, rows.map(() => [])), level), rows.map((row, i) => new Rng('diffuse', seed, String(row.id ?? first + i))), { ...o, levels: all, filter });
      const bytes = pixelBytes(result);
      tf.dispose([x0, result]);
      first += rows.length;
      yield assemble(schema, [rawColumn(bytes, rows.length), ...kept.map(({ i }) => batch.data.children[i])], rows.length);
    }
    tf.dispose([...filter]);
  }
  return { schema, batches: batches() };
}

/** What is known of the columns that stay is kept. */
function schemaOf(given: Schema, fields: Field[], into: string): Schema {
  const { [into]: _, ...features } = featuresOf(given), schema = new Schema(fields, given.metadata);
  return given.metadata.has('huggingface') ? withFeatures(schema, features) : schema;
}
