import { existsSync } from 'node:fs';
import { scoped, type Tensor } from '@graft/kernels';
import { dataError } from '../errors.js';
import { loadTensor, storeTensor } from '../formats/graft.js';
import { readInput } from '../formats/input.js';
import { isCount, parseObject } from '../formats/json.js';
import { writeOutput } from '../formats/output.js';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import type { Adaptation } from './method.js';

/** How far a stream has come. */
export interface Position {
  /** Batches predicted so far. */
  batches: number;
  /** The value of the grouping column in the last of them. */
  group: string | null;
}

/** Tensors read back, by name. */
export const stored = (tensors: ReadonlyMap<string, Tensor>): [string, ReturnType<typeof storeTensor>][] => [...tensors].map(([name, t]) => [name, storeTensor(t)]);

/** Writes tensors as a safetensors file. */
export async function writeTensors(path: string, tensors: () => ReadonlyMap<string, Tensor>, metadata: Record<string, string>): Promise<void> {
  const values = scoped(() => stored(tensors()));
  await writeOutput(path, (out) => writeSafetensors(out, values.map(([name, { data, ...t }]) => ({ name, ...t, data: () => data })), metadata));
}

/** Writes what `readState` needs to go on: the method's tensors and the position. */
export async function writeState(path: string, method: string, adaptation: Adaptation, position: Position): Promise<void> {
  await writeTensors(path, () => adaptation.state(), { 'graft.tta': method, 'graft.position': JSON.stringify(position) });
}

/**
 * Puts a stored state into a fresh adaptation. Without a file the stream is at its beginning.
 * @throws GraftError (65) for the state of another method or model, or no state at all
 */
export async function readState(path: string, method: string, adaptation: Adaptation): Promise<Position> {
  if (!existsSync(path)) return { batches: 0, group: null };
  const { metadata, tensors } = readSafetensors(await readInput(path), path);
  if (metadata['graft.tta'] !== method) throw dataError(`${path}: is the state of ${metadata['graft.tta'] ?? 'something else'}, not of ${method}; remove it to start afresh`);
  const position = positionOf(metadata['graft.position'], path);
  scoped(() => {
    for (const [name, t] of adaptation.state()) {
      const found = tensors.get(name);
      // What a fresh start has none of (a memory) comes in any size.
      if (!found || (t.size > 0 && found.shape.join() !== t.shape.join())) throw dataError(`${path}: does not fit this model: '${name}' is ${found ? `[${found.shape}], not [${t.shape}]` : 'missing'}`);
    }
    for (const [name, t] of adaptation.state()) {
      const { dtype } = tensors.get(name)!;
      if (dtype !== (t.dtype === 'float32' ? 'F32' : 'I32')) throw dataError(`${path}: '${name}' is ${dtype}; remove the file to start afresh`);
    }
    adaptation.restore(new Map([...tensors].map(([name, t]) => [name, loadTensor(name, t)])));
  });
  return position;
}

function positionOf(text: string | undefined, path: string): Position {
  if (text === undefined) return { batches: 0, group: null };
  const { batches, group } = parseObject(text, `${path}: graft.position`);
  if (!isCount(batches) || (group !== null && typeof group !== 'string')) throw dataError(`${path}: graft.position is not that of a stream; remove the file to start afresh`);
  return { batches, group };
}
