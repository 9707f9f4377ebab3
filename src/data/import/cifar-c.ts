import { Field, Int32, Schema, Utf8 } from 'apache-arrow';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { dataError, usageError } from '../../errors.js';
import type { Row } from '../../formats/rows.js';
import { corruptionsOf, parseSeverities } from '../corruptions/registry.js';
import { rawField } from './images.js';
import { batched, eachInput, type Importer } from './importer.js';
import { ImportInput } from './input.js';
import { integers, openNpy, type NpyFile } from './npy.js';

/** The folder of CIFAR-10-C or CIFAR-100-C: an array a corruption, [5·N, 32, 32, 3], severity after severity, and labels.npy. */
export const cifarC: Importer = {
  name: 'cifar-c',
  summary: 'a folder of CIFAR-10-C or CIFAR-100-C arrays (.npy)',
  extensions: [],
  options: {
    kind: { type: 'string', metavar: 'NAME,...', describe: 'which corruptions', default: 'standard15' },
    severity: { type: 'string', metavar: 'N,...', describe: 'which severities, 1 to 5, or 1-5', default: '5' },
  },
  async read([folder, ...more], options) {
    if (!folder.isFolder || more.length > 0) throw usageError(`${folder.name}: cifar-c is read from one folder`);
    const kinds = corruptionsOf(options.kind as string).map((c) => c.name), severities = parseSeverities(options.severity as string);
    const files = kinds.map((kind) => new ImportInput(join(folder.path, `${kind}.npy`)));
    const first = await openImages(files[0]);
    const labels = existsSync(join(folder.path, 'labels.npy')) ? await readLabels(new ImportInput(join(folder.path, 'labels.npy'))) : null;
    const schema = new Schema([
      rawField('image', first.shape.slice(1)), ...(labels ? [new Field('label', new Int32(), false)] : []),
      new Field('id', new Utf8(), false), new Field('domain', new Utf8(), false), new Field('severity', new Int32(), false)]);
    const rows = eachInput(files, async function* (input): AsyncGenerator<Row> {
      const domain = kinds[files.indexOf(input)];
      const array = await openImages(input);
      if (array.shape.slice(1).join() !== first.shape.slice(1).join()) throw dataError(`${input.name}: its images are not of the size of those in ${files[0].name}`);
      if (labels && labels.length !== array.shape[0] && labels.length !== array.shape[0] / 5) throw dataError(`${join(folder.path, 'labels.npy')}: has ${labels.length} labels where ${input.name} has ${array.shape[0]} images`);
      const perSeverity = array.shape[0] / 5, size = array.shape.slice(1).reduce((a, b) => a * b, 1);
      for (let i = 0; i < array.shape[0]; i++) {
        const image = await array.reader.take(size), severity = 1 + Math.floor(i / perSeverity), row = i % perSeverity;
        if (severities.includes(severity)) yield { image, ...(labels ? { label: labels[labels.length === perSeverity ? row : i] } : {}), id: String(row), domain, severity };
      }
    });
    return { schema, batches: batched(schema, rows) };
  },
};

async function openImages(input: ImportInput): Promise<NpyFile> {
  const array = await openNpy(input.name, input.bytes());
  if (array.dtype !== '|u1' || array.shape.length !== 4 || array.shape[0] % 5 !== 0) throw dataError(`${input.name}: is ${array.dtype} [${array.shape}], not uint8 [5·N, height, width, 3]`);
  return array;
}

async function readLabels(input: ImportInput): Promise<number[]> {
  const array = await openNpy(input.name, input.bytes());
  return integers(array, await array.reader.take(array.shape[0] * Number(array.dtype.slice(2))), input.name);
}
