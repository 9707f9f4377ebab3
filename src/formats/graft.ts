import { tf, type Tensor } from '@graft/kernels';
import { dataError } from '../errors.js';
import type { Head } from '../models/model.js';
import type { Checkpoint } from './checkpoint.js';
import { bytesOf, decode, type StoredDtype } from './dtype.js';
import { isDirectory, nameOf, readInput, STDIN } from './input.js';
import { isKohya, readKohya } from './kohya.js';
import { isObject, parseObject } from './json.js';
import type { Output } from './output.js';
import { readSafetensors, writeSafetensors } from './safetensors.js';

export type { StoredDtype } from './dtype.js';

/** Version of the layout of `__metadata__.graft`. */
const GRAFT_VERSION = 1;

/** A tensor as it lies in a file. */
export interface StoredTensor { dtype: StoredDtype; shape: number[]; data: Uint8Array }

/** What a graft was made for. */
export interface Fingerprint {
  /** `model_type` of the base; empty where it is not known (an adapter from elsewhere). */
  type: string;
  /** SHA-256 over the names, dtypes and shapes of the base's tensors. */
  headers: string;
  /** The sizes in config.json that shapes depend on, to name a mismatch. */
  dimensions?: Record<string, number>;
}

/** A small trained change to a frozen model: one safetensors file. */
export interface Graft {
  method: string;
  /** The method's configuration: the values of its options. */
  config: Record<string, unknown>;
  base: Fingerprint;
  head: Head | null;
  /** The commands that made it, oldest first. */
  history: string[];
  /** Sorted by name when written. */
  tensors: Map<string, StoredTensor>;
}

/**
 * Reads a graft: a file, `-` for standard input, a directory in the PEFT layout, or a file in the layout of kohya's scripts.
 * @throws GraftError (66) not there, (65) not a graft
 */
export async function readGraft(path: string): Promise<Graft> {
  if (path !== STDIN && isDirectory(path)) return (await import('./peft.js')).readPeft(path);
  const source = nameOf(path);
  const bytes = await readInput(path);
  if (bytes.length === 0) throw dataError(`${source}: no graft came in: the input is empty`);
  const { metadata, tensors } = readSafetensors(bytes, source);
  if (metadata.graft === undefined && isKohya(tensors.keys())) return readKohya(tensors, metadata, source);
  return { ...parseDescription(metadata.graft, source), tensors };
}

/** Writes a graft; equal grafts give equal bytes. */
export async function writeGraft(output: Output, graft: Graft): Promise<void> {
  const { method, config, base, head, history } = graft;
  const description = canonical({ version: GRAFT_VERSION, method, config, base, head, history });
  const tensors = [...graft.tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, data: () => data }));
  await writeSafetensors(output, tensors, { graft: description });
}

/** A tensor of a graft on the backend. @throws GraftError (65) for a dtype without a reading. */
export function loadTensor(name: string, { dtype, shape, data }: StoredTensor): Tensor {
  const values = decode(data, dtype);
  if (!values) throw dataError(`tensor '${name}' is ${dtype}, which graft cannot compute with`);
  return tf.tensor(values.slice(), shape, values instanceof Float32Array ? 'float32' : 'int32');
}

/** The tensor read back, for storage: float32 as F32, integers and booleans as I32 and BOOL. */
export function storeTensor(tensor: Tensor): StoredTensor {
  const dtype = tensor.dtype === 'int32' ? 'I32' : tensor.dtype === 'bool' ? 'BOOL' : 'F32';
  return { dtype, shape: [...tensor.shape], data: bytesOf(tensor.dataSync().slice() as Float32Array) };
}

/**
 * Whether a graft can be applied to a checkpoint.
 * @throws GraftError (65) naming the first mismatch
 */
export function checkFits(graft: Graft, checkpoint: Checkpoint): void {
  const { base } = graft;
  const here = checkpoint.fingerprint();
  const bad = (why: string): Error => dataError(`the graft does not fit ${checkpoint.path}: ${why}`);
  if (base.type && base.type !== here.type) throw bad(`it was made for a ${base.type} model, this is ${here.type}`);
  if (base.headers === here.headers) return;
  for (const [key, size] of Object.entries(base.dimensions ?? {})) {
    if (here.dimensions?.[key] !== size) throw bad(`${key} was ${size}, here it is ${here.dimensions?.[key] ?? 'not given'}`);
  }
  const modules = modulePaths(checkpoint);
  for (const [name, { shape }] of graft.tensors) {
    const why = mismatch(name, shape, checkpoint, modules, graft.head !== null);
    if (why) throw bad(why);
  }
}

/** Every dotted prefix of a tensor name. */
function modulePaths(checkpoint: Checkpoint): Set<string> {
  const paths = new Set<string>();
  for (const name of checkpoint.names()) for (let i = name.indexOf('.'); i >= 0; i = name.indexOf('.', i + 1)) paths.add(name.slice(0, i));
  return paths;
}

function mismatch(name: string, shape: number[], checkpoint: Checkpoint, modules: Set<string>, head: boolean): string | null {
  if (checkpoint.has(name)) {
    const stored = checkpoint.info(name).shape;
    // A head may bring another number of classes.
    return head || stored.join() === shape.join() ? null : `'${name}' is [${shape}], there it is [${stored}]`;
  }
  const parts = name.split('.');
  let depth = parts.length - 1;
  while (depth > 0 && !modules.has(parts.slice(0, depth).join('.'))) depth--;
  const module = parts.slice(0, depth).join('.');
  const rest = parts.slice(depth);
  if (depth > 0 && /^\d+$/.test(rest[0])) return `it changes '${name}', there is no ${module}.${rest[0]}`;
  const lora = /^lora_(embedding_)?([AB])0?$/.exec(rest[0]);
  if (!lora) return rest.slice(1).some((p) => p.startsWith('lora_')) ? `it changes '${name}', there is no such module` : null;
  const weight = `${module}.weight`;
  if (!checkpoint.has(weight)) return `it changes '${module}', which has no weight`;
  const stored = checkpoint.info(weight).shape;
  const size = lora[2] === 'A' ? shape[1] : shape[0];
  // AdaLoRA's factor of a convolution runs over its flattened window.
  const flat = stored.slice(1).reduce((a, b) => a * b, 1);
  return size === flat || stored.slice(0, 2).includes(size) ? null : `'${name}' is [${shape}], the weight there is [${stored}]`;
}

function parseDescription(text: string | undefined, source: string): Omit<Graft, 'tensors'> {
  if (text === undefined) throw dataError(`${source}: is a safetensors file but not a graft: it has no __metadata__.graft`);
  const { version, method, config, base, head, history } = parseObject(text, `${source}: __metadata__.graft`);
  if (typeof version !== 'number' || version > GRAFT_VERSION) throw dataError(`${source}: graft layout version ${JSON.stringify(version)} is not known; this graft reads up to ${GRAFT_VERSION}`);
  if (typeof method !== 'string' || !isObject(config) || !isFingerprint(base)) throw dataError(`${source}: __metadata__.graft lacks its method, config or base`);
  if (head !== undefined && head !== null && !isHead(head)) throw dataError(`${source}: __metadata__.graft describes no head: ${JSON.stringify(head)}`);
  return { method, config, base, head: head ?? null, history: Array.isArray(history) ? history.map(String) : [] };
}

function isFingerprint(base: unknown): base is Fingerprint {
  if (!isObject(base) || typeof base.type !== 'string' || typeof base.headers !== 'string') return false;
  return base.dimensions === undefined || (isObject(base.dimensions) && Object.values(base.dimensions).every((n) => typeof n === 'number'));
}

function isHead(head: unknown): head is Head {
  if (!isObject(head) || !TASKS.includes(head.task as Head['task'])) return false;
  return head.labels === undefined || (Array.isArray(head.labels) && head.labels.every((l) => typeof l === 'string'));
}

const TASKS: readonly Head['task'][] = ['classify', 'regress', 'tag', 'segment', 'mlm', 'clm'];

/** JSON with keys in sorted order, whatever order they were set in. */
export const canonical = (value: unknown, indent?: number): string => JSON.stringify(value, (_, v) => (isObject(v) ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1))) : v), indent);
