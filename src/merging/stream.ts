import type { Tensor } from '@graft/kernels';
import { basename, join } from 'node:path';
import { usageError } from '../errors.js';
import type { Checkpoint, ModelConfig } from '../formats/checkpoint.js';
import { byteLength, type FloatDtype, type StoredDtype } from '../formats/dtype.js';
import { isDirectory } from '../formats/input.js';
import { copyInto, writeDirectory, writeOutput, type Span } from '../formats/output.js';
import { writeSafetensors, type LazyTensor } from '../formats/safetensors.js';
import { openProgress } from '../progress.js';

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
  /** The tensor's bytes, in pieces that may be overwritten when the one after the next is asked for. */
  data(tensor: Outline): Iterable<Uint8Array>;
  /** Where they lie in a file as they are. */
  span?(tensor: Outline): Span | null;
  /** The same as a float tensor that is read where it lies, for the caller to dispose of. */
  mapped?(tensor: Outline): Tensor | null;
  close(): void;
}

/** Bytes read at once: what is written next should still be in the processor's cache. */
export const PIECE = 1 << 20;

/** A stored tensor's bytes, piece by piece, in two memories by turns. */
export function* storedBytes(checkpoint: Checkpoint, name: string): Generator<Uint8Array> {
  const { length } = checkpoint.info(name), size = Math.min(PIECE, length), memories = [new Uint8Array(size), new Uint8Array(size)];
  for (let start = 0, turn = 0; start < length; start += PIECE, turn ^= 1) yield checkpoint.read(name, start, PIECE, memories[turn]);
}

/**
 * Writes a model: a directory with the same files as the one it came from, or one file where it came from one.
 * @throws GraftError (usage) for a directory without a name
 */
export async function writeModel(path: string | undefined, model: WholeModel): Promise<void> {
  const shards = model.shards();
  const progress = openProgress({ label: 'write', unit: 'MB', total: Math.ceil(sizeOf(shards) / 1e6) });
  let bytes = 0;
  const advance = (n: number): void => progress.update(Math.round((bytes += n) / 1e6));
  try {
    await writeFiles(path, shards, model, advance);
  } finally {
    progress.end();
  }
}

async function writeFiles(path: string | undefined, shards: readonly Shard[], model: WholeModel, advance: (bytes: number) => void): Promise<void> {
  const lazy = ({ tensors }: Shard): LazyTensor[] => tensors.map((t) => ({
    ...t, data: () => told(model.data(t), advance),
    span: () => {
      const span = model.span?.(t) ?? null;
      if (span) advance(span.length);
      return span;
    },
  }));
  if (!isDirectory(model.path)) return writeOutput(path, (out) => writeSafetensors(out, lazy(shards[0]), shards[0].metadata));
  if (path === undefined || path === '-') throw usageError('--output is missing: a checkpoint is a directory, which standard output cannot take');
  await writeDirectory(path, async (directory) => {
    for (const shard of shards) await writeOutput(join(directory, shard.file), (out) => writeSafetensors(out, lazy(shard), { format: 'pt', ...shard.metadata }));
    if (shards.length > 1 || shards[0].file !== 'model.safetensors') await writeText(join(directory, 'model.safetensors.index.json'), indexOf(shards));
    for (const file of model.files) if (basename(file) !== 'config.json') copyInto(directory, file);
    await writeText(join(directory, 'config.json'), model.config);
  });
}

function* told(pieces: Iterable<Uint8Array>, advance: (bytes: number) => void): Generator<Uint8Array> {
  for (const piece of pieces) {
    yield piece;
    advance(piece.length);
  }
}

const sizeOf = (shards: readonly Shard[]): number => shards.flatMap((s) => s.tensors).reduce((n, t) => n + byteLength(t.dtype, t.shape), 0);

/** Where each tensor lies, as transformers reads it. */
function indexOf(shards: readonly Shard[]): Record<string, unknown> {
  const placed = shards.flatMap(({ file, tensors }) => tensors.map((t) => ({ ...t, file }))).sort((a, b) => (a.name < b.name ? -1 : 1));
  return { metadata: { total_size: sizeOf(shards) }, weight_map: Object.fromEntries(placed.map((t) => [t.name, t.file])) };
}

const writeText = (path: string, value: unknown): Promise<void> => writeOutput(path, (out) => out.write(`${JSON.stringify(value, null, 2)}\n`), { text: true });

/** Float types as config.json names them. */
export const TORCH: Record<FloatDtype, string> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16', F64: 'float64' };

/** The tensors in files of at most `limit` bytes; a larger one stands alone. */
export function reshard(shards: readonly Shard[], limit: number): Shard[] {
  const groups: Outline[][] = [[]];
  let held = 0;
  for (const tensor of shards.flatMap((s) => s.tensors)) {
    const bytes = byteLength(tensor.dtype, tensor.shape);
    if (held + bytes > limit && held > 0) {
      groups.push([]);
      held = 0;
    }
    groups.at(-1)!.push(tensor);
    held += bytes;
  }
  const five = (n: number): string => String(n).padStart(5, '0');
  return groups.map((tensors, i) => ({ tensors, metadata: shards[0].metadata, file: groups.length === 1 ? 'model.safetensors' : `model-${five(i + 1)}-of-${five(groups.length)}.safetensors` }));
}
