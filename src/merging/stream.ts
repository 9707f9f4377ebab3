import { copyFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { usageError } from '../errors.js';
import type { ModelConfig } from '../formats/checkpoint.js';
import { byteLength, type StoredDtype } from '../formats/dtype.js';
import { isDirectory } from '../formats/input.js';
import { writeDirectory, writeOutput } from '../formats/output.js';
import { writeSafetensors, type LazyTensor } from '../formats/safetensors.js';

/** A tensor of a model that is being made. */
export interface Outline { name: string; dtype: StoredDtype; shape: number[] }

/** One weight file of it. */
export interface Shard { file: string; metadata: Record<string, string>; tensors: Outline[] }

/** A whole model whose tensors are made when asked for: no more than a few are in memory. */
export interface WholeModel {
  readonly path: string;
  readonly config: ModelConfig;
  /** What lies beside the weights, config.json among it; empty for a model that is one file. */
  readonly files: readonly string[];
  shards(): Shard[];
  /** The tensor's bytes, in pieces. */
  data(tensor: Outline): Iterable<Uint8Array>;
  close(): void;
}

/** Bytes read at once. */
const PIECE = 1 << 23;

/** [start, count] of the pieces of `length` bytes. */
export function* inPieces(length: number): Generator<[number, number]> {
  for (let start = 0; start < length; start += PIECE) yield [start, Math.min(PIECE, length - start)];
}

/**
 * Writes a model: a directory with the same files as the one it came from, or one file where it came from one.
 * @throws GraftError (usage) for a directory without a name
 */
export async function writeModel(path: string | undefined, model: WholeModel): Promise<void> {
  const shards = model.shards();
  if (!isDirectory(model.path)) return writeOutput(path, (out) => writeSafetensors(out, lazy(model, shards[0]), shards[0].metadata));
  if (path === undefined || path === '-') throw usageError('--output is missing: a checkpoint is a directory, which standard output cannot take');
  await writeDirectory(path, async (directory) => {
    for (const shard of shards) await writeOutput(join(directory, shard.file), (out) => writeSafetensors(out, lazy(model, shard), { format: 'pt', ...shard.metadata }));
    if (shards.length > 1 || shards[0].file !== 'model.safetensors') await writeText(join(directory, 'model.safetensors.index.json'), indexOf(shards));
    for (const file of model.files) if (basename(file) !== 'config.json') copyFileSync(file, join(directory, basename(file)));
    await writeText(join(directory, 'config.json'), model.config);
  });
}

const lazy = (model: WholeModel, { tensors }: Shard): LazyTensor[] => tensors.map((t) => ({ ...t, data: () => model.data(t) }));

/** Where each tensor lies, as transformers reads it. */
function indexOf(shards: readonly Shard[]): Record<string, unknown> {
  const placed = shards.flatMap(({ file, tensors }) => tensors.map((t) => ({ ...t, file }))).sort((a, b) => (a.name < b.name ? -1 : 1));
  const size = placed.reduce((n, t) => n + byteLength(t.dtype, t.shape), 0);
  return { metadata: { total_size: size }, weight_map: Object.fromEntries(placed.map((t) => [t.name, t.file])) };
}

const writeText = (path: string, value: unknown): Promise<void> => writeOutput(path, (out) => out.write(`${JSON.stringify(value, null, 2)}\n`), { text: true });
