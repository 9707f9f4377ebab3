import { tf, type Tensor, type Tensor1D } from '@graft/kernels';
import type { LowRankChange } from '../adapters/method.js';
import { configOf } from '../adapters/instantiate.js';
import { deltaRows } from '../adapters/low-rank.js';
import { loadMethod } from '../adapters/registry.js';
import { dataError, GraftError } from '../errors.js';
import type { Checkpoint, ModelConfig } from '../formats/checkpoint.js';
import { decode, encode, isFloat, type FloatDtype, type StoredDtype } from '../formats/dtype.js';
import { alignNames, bodyName, headClass, isPrefixed } from '../formats/naming.js';
import { checkFits, loadTensor, type Graft, type StoredTensor } from '../formats/graft.js';
import type { Head, Model } from '../models/model.js';
import { loadModel } from '../models/registry.js';
import type { Site, Weights } from '../models/site.js';
import type { Span } from '../formats/output.js';
import { Layer } from './layer.js';
import { storedBytes, type Outline, type Shard, type WholeModel } from './stream.js';

/** Elements computed at once. */
const BLOCK = 1 << 21;

/**
 * A checkpoint with grafts folded into its weights, computed tensor by tensor when asked for: whole tensors are replaced (the
 * last graft wins), weights rewritten graft by graft, then every change is added or folded in, as the forward pass composes them.
 * Without grafts it is the checkpoint itself.
 * @throws GraftError (65) for a graft that does not fit, (1) for one that is no change of weights
 */
export async function fold(checkpoint: Checkpoint, grafts: readonly Graft[]): Promise<WholeModel> {
  if (grafts.length === 0) return new Folded(checkpoint, null, []);
  const model = await loadModel(checkpoint);
  const aligned = grafts.map((g) => alignNames(g, checkpoint));
  const layers: Layer[] = [];
  for (const graft of aligned) {
    checkFits(graft, checkpoint);
    const method = await loadMethod(graft.method);
    const why = typeof method.unmergeable === 'function' ? method.unmergeable(configOf(method, graft)) : method.unmergeable;
    if (why) throw new GraftError(`a ${method.name} graft cannot be merged: ${why}; apply it with --graft instead`);
    layers.push(new Layer(method, graft, model, checkpoint));
  }
  return new Folded(checkpoint, model, layers);
}

class Folded implements WholeModel {
  readonly config: ModelConfig;
  readonly head: Head | null;
  private readonly replaced = new Map<string, StoredTensor>();
  /** Tensors the checkpoint lacks. */
  private readonly added: Outline[] = [];
  private readonly prefixed: boolean;
  /** Checkpoint name by the name it is written under. */
  private readonly origin = new Map<string, string>();

  constructor(private readonly checkpoint: Checkpoint, model: Model | null, private readonly layers: readonly Layer[]) {
    const brought = layers.map((l) => l.graft.head).findLast((h) => h !== null) ?? null;
    this.head = brought;
    for (const layer of layers) for (const [name, tensor] of layer.replaced) this.replaced.set(name, tensor);
    const { model_type: type } = checkpoint.config;
    // With a head the file is that of a class with a head, which keeps its body under a prefix.
    this.prefixed = brought !== null || isPrefixed(type, checkpoint.names());
    this.config = brought ? withHead(checkpoint.config, brought) : checkpoint.config;
    if (model) this.refuseTied(model, brought ?? model.head);
    this.findAdded();
    for (const name of [...checkpoint.names(), ...this.added.map((t) => t.name)]) this.origin.set(this.written(name), name);
  }

  get path(): string {
    return this.checkpoint.path;
  }

  get files(): readonly string[] {
    return this.checkpoint.files;
  }

  private written(name: string): string {
    return this.layers.length === 0 ? name : bodyName(this.checkpoint.config.model_type, name, this.prefixed);
  }

  /** A table shared by the embedding and the head that ends the model cannot hold a change of one of them. */
  private refuseTied(model: Model, head: Head | null): void {
    if (head?.task !== 'mlm' && head?.task !== 'clm') return;
    for (const { sites, method } of this.layers) {
      for (const [name, changed] of sites) {
        const other = model.sites.find((s) => s.weight === name && !changed.includes(s));
        if (other) throw new GraftError(`a ${method.name} graft of '${changed[0].name}' cannot be merged: '${other.name}' uses the same weight; apply it with --graft instead`);
      }
    }
  }

  private findAdded(): void {
    const { checkpoint } = this;
    const dtype = commonDtype(checkpoint);
    for (const [name, { shape, dtype: own }] of this.replaced) if (!checkpoint.has(name)) this.added.push({ name, dtype: isFloat(own) ? dtype : own, shape });
    const known = new Set([...checkpoint.names(), ...this.added.map((t) => t.name)]);
    for (const layer of this.layers) {
      for (const [name, sites] of layer.sites) {
        const site = sites.find((s) => s.weight !== name);
        if (!site || known.has(name) || !layer.changesBias(site)) continue;
        known.add(name);
        this.added.push({ name, dtype, shape: [site.dimOut] });
      }
    }
  }

  shards(): Shard[] {
    const outline = ({ name, dtype, shape }: Outline): Outline => ({ name: this.written(name), dtype, shape: this.replaced.get(name)?.shape ?? shape });
    const shards = this.checkpoint.shards().map(({ file, metadata, entries }) => ({ file, metadata, tensors: entries.map(outline) }));
    shards.at(-1)!.tensors.push(...this.added.map(outline));
    return shards;
  }

  *data({ name: written, dtype }: Outline): Iterable<Uint8Array> {
    const name = this.origin.get(written)!;
    if (!this.touched(name)) return yield* storedBytes(this.checkpoint, name);
    if (!isFloat(dtype)) {
      const replaced = this.replaced.get(name);
      if (!replaced) throw dataError(`${this.checkpoint.path}: '${name}' is ${dtype}; a change can be added to F32, F16, BF16 and F64 only`);
      return yield replaced.data;
    }
    for (const block of this.blocks(name)) yield encode(block, dtype as FloatDtype);
  }

  span({ name: written }: Outline): Span | null {
    const name = this.origin.get(written)!;
    return this.touched(name) ? null : this.checkpoint.span(name);
  }

  mapped({ name: written, dtype }: Outline): Tensor | null {
    const name = this.origin.get(written)!;
    return this.touched(name) || !isFloat(dtype) || dtype === 'F64' ? null : this.checkpoint.load(name);
  }

  private touched(name: string): boolean {
    return this.replaced.has(name) || this.layers.some((l) => l.sites.has(name));
  }

  /** The merged tensor in runs of whole rows. */
  private *blocks(name: string): Iterable<Float32Array> {
    const shape = this.replaced.get(name)?.shape ?? (this.checkpoint.has(name) ? this.checkpoint.info(name).shape : this.added.find((t) => t.name === name)!.shape);
    const rows = shape[0] ?? 1;
    const width = shape.slice(1).reduce((a, b) => a * b, 1);
    const changes = this.layers.flatMap((layer) => (layer.sites.get(name) ?? []).map((site) => ({ layer, site })));
    const folds = changes.some(({ layer }) => layer.method.fold);
    const whole = folds ? this.folded(name, changes) : changes.some(({ layer, site }) => layer.rewrites && site.weight === name) ? this.rewritten(name, changes) : null;
    const step = Math.max(1, Math.floor(BLOCK / Math.max(1, width)));
    for (let from = 0; from < rows; from += step) {
      const n = Math.min(step, rows - from);
      const block = whole ? whole.slice(from * width, (from + n) * width) : this.frozen(name, from * width, n * width);
      if (!folds) for (const { layer, site } of changes) tf.tidy(() => this.add(block, layer.change(site), site, name, from, n));
      yield block;
    }
  }

  private add(block: Float32Array, change: LowRankChange | undefined, site: Site, name: string, from: number, rows: number): void {
    if (!change) return;
    const bias = site.weight === name ? null : change.bias && tf.mul(change.bias, change.scale).dataSync().slice(from, from + rows);
    const delta = bias === null ? deltaRows(site, change, from, rows) : bias;
    if (delta) for (let j = 0; j < block.length; j++) block[j] += delta[j];
  }

  /** A whole weight or bias with every change in it, one graft after the other. */
  private folded(name: string, changes: readonly { layer: Layer; site: Site }[]): Float32Array | null {
    let values: Float32Array | null = null;
    tf.tidy(() => {
      const { site } = changes[0];
      const bias = site.bias ?? `${site.name}.bias`;
      const W = changes.reduce((w, { layer }) => layer.rewritten(site, w), this.whole(site.weight!));
      const frozen: Weights = { W, b: this.checkpoint.has(bias) || this.replaced.has(bias) ? this.whole(bias) as Tensor1D : null };
      const to = changes.reduce((now, { layer }) => layer.folded(site, now, frozen), frozen);
      const wanted = site.weight === name ? to.W : to.b;
      if (wanted) values = (wanted.dataSync() as Float32Array).slice();
    });
    return values;
  }

  /** A tensor beneath all changes. */
  private whole(name: string): Tensor {
    const replaced = this.replaced.get(name);
    return replaced ? loadTensor(name, replaced) : this.checkpoint.load(name);
  }

  /** The whole weight as the grafts rewrite it; null where they leave it as it is. */
  private rewritten(name: string, changes: readonly { layer: Layer; site: Site }[]): Float32Array | null {
    let values: Float32Array | null = null;
    tf.tidy(() => {
      const W = this.whole(name);
      const to = changes.reduce((w, { layer, site }) => layer.rewritten(site, w), W);
      if (to !== W) values = (to.dataSync() as Float32Array).slice();
    });
    return values;
  }

  /** Elements of the tensor beneath all changes, in memory of their own; zeros for a bias the checkpoint lacks. */
  private frozen(name: string, start: number, count: number): Float32Array {
    const replaced = this.replaced.get(name);
    if (!replaced && !this.checkpoint.has(name)) return new Float32Array(count);
    const { dtype, size } = replaced ? { dtype: replaced.dtype, size: elementSize(replaced) } : elementOf(this.checkpoint, name);
    const bytes = replaced ? replaced.data.slice(start * size, (start + count) * size) : this.checkpoint.read(name, start * size, count * size);
    return decode(bytes, dtype) as Float32Array;
  }

  close(): void {
    this.checkpoint.close();
  }
}

const elementSize = ({ data, shape }: StoredTensor): number => data.length / Math.max(1, shape.reduce((a, b) => a * b, 1));

function elementOf(checkpoint: Checkpoint, name: string): { dtype: StoredDtype; size: number } {
  const { dtype, shape, length } = checkpoint.info(name);
  return { dtype, size: length / Math.max(1, shape.reduce((a, b) => a * b, 1)) };
}

/** The float type most of a checkpoint's elements have. */
function commonDtype(checkpoint: Checkpoint): FloatDtype {
  const bytes = new Map<FloatDtype, number>();
  for (const { entries } of checkpoint.shards()) for (const { dtype, length } of entries) if (isFloat(dtype)) bytes.set(dtype, (bytes.get(dtype) ?? 0) + length);
  return [...bytes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'F32';
}

/** config.json of a model that got this head. */
function withHead(config: ModelConfig, head: Head): ModelConfig {
  const named = headClass(config.model_type, head);
  const { architectures, ...rest } = config;
  const classes = named ? { architectures: [named] } : architectures ? { architectures } : {};
  const labels = head.labels ?? (head.task === 'regress' ? ['LABEL_0'] : null);
  if (!labels) return { ...classes, ...rest };
  return {
    ...classes, ...rest, num_labels: labels.length,
    id2label: Object.fromEntries(labels.map((l, i) => [String(i), l])), label2id: Object.fromEntries(labels.map((l, i) => [l, i])),
    ...(head.task === 'regress' ? { problem_type: 'regression' } : {}),
  };
}
