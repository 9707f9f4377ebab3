import { Field, Int32, Schema, vectorFromArray } from 'apache-arrow';
import { Rng, type Tensor4D } from '@graft/kernels';
import type { Arguments } from '../commands/command.js';
import { takeRows } from '../data/gather.js';
import { rawColumn, rawField } from '../data/import/images.js';
import { inParts } from '../data/parts.js';
import { usageError } from '../errors.js';
import { ArrowWriter } from '../formats/arrow.js';
import { featuresOf, withFeatures } from '../formats/features.js';
import { writeOutput } from '../formats/output.js';
import { assemble, rowsOf } from '../formats/rows.js';
import { openTable } from '../formats/table.js';
import { counted } from '../progress.js';
import type { Runtime } from '../runtime.js';
import { EventLog } from '../training/log.js';
import { conditionReader } from './conditions.js';
import { Denoiser } from './denoiser.js';
import { pixelBytes } from './images.js';
import { loadSampler, samplerNames } from './registry.js';
import { sample } from './sample.js';
import { levels } from './schedule.js';

/** Columns that are added. */
const ADDED = ['image', 'sample'];

/** `graft generate` with a diffusion model: conditions in, their rows with images out, a batch at a time. */
export async function generateImages(args: Arguments, runtime: Runtime): Promise<void> {
  if (!samplerNames().includes(args.method)) throw usageError(`${args.model}: this is a diffusion model: --method ${samplerNames().join(' or ')} makes images with it`);
  const sampler = await loadSampler(args.method), denoiser = new Denoiser(runtime), all = levels(denoiser.schedule, args.steps);
  const table = await openTable(args.data ?? '-', { columns: args.columns });
  const condition = conditionReader(runtime.head!, table);
  const schema = outputSchema(table.schema, denoiser.shape);
  const options = { guidance: args.guidance, config: Object.fromEntries(Object.keys(sampler.options).map((name) => [name, args[name]])) };
  const log = await EventLog.open(args.log);
  await writeOutput(args.output, async (out) => {
    const writer = new ArrowWriter(out, schema);
    let first = 0;
    for await (const batch of counted(inParts(table, Math.max(1, Math.floor(args.batchSize / args.samples))), { label: 'generate', unit: 'prompt' }, (b) => b.numRows)) {
      const asked = rowsOf(batch).flatMap((row, i) => Array.from({ length: args.samples as number }, (_, n) => ({ row: i, n, condition: condition(row, first + i), rng: new Rng('generate', args.seed, first + i, n) })));
      const images: Uint8Array[] = [];
      for (let i = 0; i < asked.length; i += args.batchSize) {
        const part = asked.slice(i, i + args.batchSize);
        images.push(bytesOf(sample(denoiser, sampler, all, part.map((a) => a.condition), part.map((a) => a.rng), options)));
        log.write({ event: 'images', prompts: batch.numRows, images: part.length, passes: all.length });
      }
      const rows = takeRows(batch, Int32Array.from(asked, (a) => a.row));
      const kept = batch.schema.fields.flatMap((f, i) => (ADDED.includes(f.name) ? [] : [rows.data.children[i]]));
      await writer.write(assemble(schema, [rawColumn(Buffer.concat(images), asked.length), ...kept, vectorFromArray(asked.map((a) => a.n), new Int32()).data[0]], asked.length));
      first += batch.numRows;
    }
    await writer.close();
  });
  log.close();
  runtime.dispose();
}

function bytesOf(images: Tensor4D): Uint8Array {
  const bytes = pixelBytes(images);
  images.dispose();
  return bytes;
}

function outputSchema(given: Schema, [H, W]: readonly number[]): Schema {
  const { image: _, sample: __, ...features } = featuresOf(given);
  const schema = new Schema([rawField('image', [H, W, 3]), ...given.fields.filter((f) => !ADDED.includes(f.name)), new Field('sample', new Int32(), false)], given.metadata);
  return given.metadata.has('huggingface') ? withFeatures(schema, features) : schema;
}
