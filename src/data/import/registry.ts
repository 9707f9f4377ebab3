import { usageError } from '../../errors.js';
import { audio } from './audio.js';
import { cifarC } from './cifar-c.js';
import { conll, conllu } from './conll.js';
import { csv, tsv } from './csv.js';
import { fasta } from './fasta.js';
import { idx } from './idx.js';
import { images } from './images.js';
import type { Importer } from './importer.js';
import type { ImportInput } from './input.js';
import { arrow, json, jsonl, parquet } from './tables.js';
import { isTar, readTar } from './tar.js';
import { text } from './text.js';

/** In the order in which contents are tried. */
export const IMPORTERS: readonly Importer[] = [arrow, parquet, idx, audio, fasta, jsonl, json, csv, tsv, conll, conllu, images, cifarC, text];

/** @throws GraftError (usage) for an unknown name */
export function importerNamed(name: string): Importer {
  const found = IMPORTERS.find((i) => i.name === name);
  if (!found) throw usageError(`unknown format '${name}': one of ${IMPORTERS.map((i) => i.name).join(', ')}`);
  return found;
}

/** The format of an input by its name or else by its contents. @throws GraftError (usage) where neither tells */
export async function importerFor(input: ImportInput): Promise<Importer> {
  const ends = (path: string): Importer | undefined => IMPORTERS.find((i) => i.extensions.some((e) => path.toLowerCase().endsWith(e)));
  const name = input.path.replace(/\.gz$/, '');
  if (input.isFolder) return images;
  const byName = ends(name);
  if (byName) return byName;
  const head = await input.head(512);
  if (isTar(head)) return await memberFormat(input, ends) ?? images;
  const byContent = IMPORTERS.find((i) => i.recognises?.(head));
  if (byContent) return byContent;
  throw usageError(`${input.name}: neither name nor contents tell the format; give --format, one of ${IMPORTERS.map((i) => i.name).join(', ')}`);
}

async function memberFormat(input: ImportInput, ends: (path: string) => Importer | undefined): Promise<Importer | undefined> {
  for await (const { path } of readTar(input.name, input.bytes())) {
    const found = ends(path);
    if (found === images || found === audio) return found;
  }
  return undefined;
}
