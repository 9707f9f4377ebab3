import { tf, type Tensor } from '@graft/kernels';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { noteRead } from '../dependencies.js';
import { dataError, inputError } from '../errors.js';
import type { Fingerprint } from './graft.js';
import { inputFailure, isDirectory } from './input.js';
import { isObject, parseObject } from './json.js';
import type { Span } from './output.js';
import { openSafetensors, type Entry, type SafetensorsFile } from './safetensors.js';

export type ModelConfig = { model_type: string } & Record<string, unknown>;

const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** diffusers' names for what Transformers calls model_type and for the file of weights. */
const DIFFUSERS: Record<string, string> = { UNet2DConditionModel: 'unet-2d-condition' };
const DIFFUSERS_WEIGHTS = 'diffusion_pytorch_model.safetensors';
/** Files that hold weights in one form or another; everything else in a checkpoint belongs to its tokenizer, processor or author. */
const WEIGHT_FILE = /\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|h5|msgpack|onnx|ot|gguf|ckpt)$/;
/** config.json keys, by architecture, that decide the shapes of a graft. */
const DIMENSIONS = ['hidden_size', 'n_embd', 'num_hidden_layers', 'n_layer', 'num_attention_heads', 'n_head', 'vocab_size', 'depth'];

/**
 * Opens a checkpoint: a Hugging Face directory, or one .safetensors file whose architecture its tensor names give away.
 * @throws GraftError (66) when it or one of its files is missing, (65) when it is not a checkpoint
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (!isDirectory(path)) {
    const file = openSafetensors(path);
    return new Checkpoint(path, inferConfig(file), whereabouts([...file.entries.keys()], basename(path)), new Map([[basename(path), file]]), []);
  }
  const files = readdirSync(path, { withFileTypes: true })
    .filter((e) => (e.isFile() || e.isSymbolicLink()) && !WEIGHT_FILE.test(e.name) && !e.name.startsWith('.'))
    .map((e) => join(path, e.name)).sort();
  if (!existsSync(join(path, 'config.json'))) throw inputError(`${path}: has no config.json; a checkpoint directory in the Hugging Face layout is expected`);
  const config = readJson(join(path, 'config.json'));
  config.model_type ??= DIFFUSERS[String(config._class_name)];
  if (typeof config.model_type !== 'string') throw dataError(`${join(path, 'config.json')}: names no model_type`);
  const weights = [WEIGHTS, DIFFUSERS_WEIGHTS].find((name) => existsSync(join(path, name)));
  if (weights) {
    const file = openSafetensors(join(path, weights));
    return new Checkpoint(path, config as ModelConfig, whereabouts([...file.entries.keys()], weights), new Map([[weights, file]]), files);
  }
  if (existsSync(join(path, INDEX))) return new Checkpoint(path, config as ModelConfig, readIndex(path), new Map(), files);
  const pickled = readdirSync(path).find((f) => /^pytorch_model.*\.bin$/.test(f));
  throw inputError(pickled
    ? `${path}: has ${pickled} but no ${WEIGHTS}; save it as safetensors first (save_pretrained of transformers does)`
    : `${path}: has neither ${WEIGHTS} nor ${INDEX}`);
}

/** A frozen model on disk. Its tensors are mapped, not copied, and read only when asked for. */
export class Checkpoint {
  private readonly tensors = new Map<string, Tensor>();
  private print: Fingerprint | null = null;

  /**
   * @param where the file that holds each tensor
   * @param files tokenizer, processor and other files that belong to the model, config.json among them
   */
  constructor(readonly path: string, readonly config: ModelConfig, private readonly where: ReadonlyMap<string, string>, private readonly open: Map<string, SafetensorsFile>, readonly files: readonly string[]) {}

  names(): string[] {
    return [...this.where.keys()];
  }

  has(name: string): boolean {
    return this.where.has(name);
  }

  /** dtype, shape and place of a tensor. @throws GraftError (65) when there is none of that name. */
  info(name: string): Entry {
    return this.file(name).entries.get(name)!;
  }

  /** The weight as a float32 tensor (int32 for integers), kept until `close`; the caller must not dispose it. */
  tensor(name: string): Tensor {
    let tensor = this.tensors.get(name);
    if (!tensor) this.tensors.set(name, (tensor = tf.keep(this.load(name))));
    return tensor;
  }

  /** The same, for one use: the caller disposes it. */
  load(name: string): Tensor {
    return this.file(name).tensor(name);
  }

  /** `tensor`, for whoever takes weights by name. */
  get(name: string): Tensor {
    return this.tensor(name);
  }

  /** A copy of the stored bytes, or of `count` of them from byte `start` on. */
  read(name: string, start?: number, count?: number, into?: Uint8Array): Uint8Array {
    return this.file(name).read(name, start, count, into);
  }

  /** Where the tensor's bytes lie. */
  span(name: string): Span {
    return this.file(name).span(name);
  }

  /** The tensors of each weight file, in the order of their bytes. */
  shards(): { file: string; metadata: Record<string, string>; entries: Entry[] }[] {
    const shards = [...new Set(this.where.values())].sort();
    return shards.map((file) => {
      const { metadata, entries } = this.shard(file);
      return { file, metadata, entries: [...entries.values()].filter((e) => this.where.get(e.name) === file) };
    });
  }

  fingerprint(): Fingerprint {
    if (this.print) return this.print;
    const hash = createHash('sha256');
    for (const name of this.names().sort()) {
      const { dtype, shape } = this.info(name);
      hash.update(`${name}\t${dtype}\t${shape.join(',')}\n`);
    }
    const dimensions = Object.fromEntries(DIMENSIONS.filter((k) => typeof this.config[k] === 'number').map((k) => [k, this.config[k] as number]));
    return (this.print = { type: this.config.model_type, headers: hash.digest('hex'), dimensions });
  }

  close(): void {
    for (const t of this.tensors.values()) t.dispose();
    this.tensors.clear();
    for (const file of this.open.values()) file.close();
  }

  private file(name: string): SafetensorsFile {
    const file = this.where.get(name);
    if (file === undefined) throw dataError(`${this.path}: the checkpoint has no tensor '${name}'`);
    return this.shard(file);
  }

  private shard(file: string): SafetensorsFile {
    const known = this.open.get(file);
    if (known) return known;
    const opened = openSafetensors(join(this.path, file));
    for (const [name, at] of this.where) if (at === file && !opened.has(name)) throw dataError(`${opened.path}: lacks tensor '${name}', which ${INDEX} places there`);
    this.open.set(file, opened);
    return opened;
  }
}

const whereabouts = (names: readonly string[], file: string): Map<string, string> => new Map([...names].sort().map((n) => [n, file]));

export function readJson(path: string): Record<string, unknown> {
  noteRead(path);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw inputFailure(path, error);
  }
  return parseObject(text, path);
}

function readIndex(directory: string): Map<string, string> {
  const path = join(directory, INDEX);
  const { weight_map: map } = readJson(path);
  if (!isObject(map)) throw dataError(`${path}: has no weight_map`);
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== 'string' || file !== basename(file)) throw dataError(`${path}: places tensor '${name}' in ${JSON.stringify(file)}, which is not a file name`);
  }
  return new Map(Object.entries(map as Record<string, string>).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The CIFAR ResNets (He et al., 2016, section 4.2) are published as bare state dictionaries. */
function inferConfig(file: SafetensorsFile): ModelConfig {
  const shape = (name: string): number[] | undefined => file.entries.get(name)?.shape;
  const blocks = (stage: number): number => [...file.entries.keys()].filter((n) => new RegExp(`^layer${stage}\\.\\d+\\.conv1\\.weight$`).test(n)).length;
  const n = blocks(1);
  const known = shape('conv1.weight')?.length === 4 && shape('bn1.running_mean') && shape('linear.weight') && n > 0 && blocks(2) === n && blocks(3) === n;
  if (!known) throw dataError(`${file.path}: a lone .safetensors file must be a CIFAR ResNet (conv1, bn1, layer1…3, linear); for other models name the directory with config.json`);
  return { model_type: 'resnet-cifar', depth: 6 * n + 2, num_labels: shape('linear.weight')![0] };
}
