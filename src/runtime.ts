import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { embedding, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import type { ActiveGraft } from './adapters/active.js';
import { activate } from './adapters/instantiate.js';
import { Tokenizer } from './data/tokenizer.js';
import { usageError } from './errors.js';
import { openCheckpoint, type Checkpoint } from './formats/checkpoint.js';
import { checkFits, type Graft } from './formats/graft.js';
import { alignNames } from './formats/naming.js';
import { Forward, type ForwardOptions } from './models/forward.js';
import type { Batch, Features, Head, Model } from './models/model.js';
import { loadModel } from './models/registry.js';

/** A checkpoint with its grafts, ready to run. */
export class Runtime {
  private constructor(readonly checkpoint: Checkpoint, readonly model: Model, readonly grafts: readonly ActiveGraft[], readonly head: Head | null, private readonly words: Tokenizer | null) {}

  /**
   * @param options.trainable the tensors of the last graft become variables; those before it stay as they are
   * @throws GraftError where a file is missing, broken, or does not fit
   */
  static async open({ model: path, grafts: given = [], trainable = false }: { model: string; grafts?: readonly Graft[]; trainable?: boolean }): Promise<Runtime> {
    const checkpoint = await openCheckpoint(path);
    const model = await loadModel(checkpoint);
    const grafts = given.map((graft) => alignNames(graft, checkpoint));
    for (const graft of grafts) checkFits(graft, checkpoint);
    const active: ActiveGraft[] = [];
    for (const [i, graft] of grafts.entries()) active.push(await activate(graft, model, { train: trainable && i === grafts.length - 1 }));
    const head = grafts.map((g) => g.head).findLast((h) => h !== null) ?? model.head;
    const words = model.input === 'text' && existsSync(join(path, 'tokenizer.json')) ? new Tokenizer(path, model.maxLength ?? Infinity, model.sites.find((s) => s.role === 'embed')?.dimIn) : null;
    return new Runtime(checkpoint, model, active, head, words);
  }

  /** Where the frozen weights come from. */
  get weights(): Checkpoint {
    return this.checkpoint;
  }

  /** @throws GraftError (usage) where the checkpoint brings none */
  get tokenizer(): Tokenizer {
    if (!this.words) throw usageError(`${this.checkpoint.path}: has no tokenizer.json, so it cannot read text`);
    return this.words;
  }

  /** Number of token ids. */
  get vocabulary(): number {
    return Number(this.checkpoint.config.vocab_size);
  }

  forward(options: ForwardOptions = {}, grafts = this.grafts): Forward {
    return new Forward(this.model.sites, this.checkpoint, grafts, options);
  }

  features(batch: Batch, options: ForwardOptions = {}): Features {
    return this.model.backbone(this.forward(options), batch);
  }

  /**
   * Logits of the task in use: [B, C], or [B, T, C or V].
   * @param positions of the B·T token positions only these, for heads that read each alone: [1, N, V]
   * @throws GraftError (usage) without a head
   */
  logits(batch: Batch, options: ForwardOptions = {}, positions?: Int32Array): Tensor {
    return this.logitsOf(this.forward(options), batch, positions);
  }

  /** The same in a pass at hand. */
  logitsOf(forward: Forward, batch: Batch, positions?: Int32Array): Tensor {
    if (!this.head) throw usageError(`${this.checkpoint.path}: has no task head; give a graft that has one (graft init-adapter --task)`);
    const features = this.model.backbone(forward, batch, positions ?? this.model.reads(this.head));
    return this.model.logits(forward, positions && !features.read ? at(features, positions) : features, this.head);
  }

  dispose(): void {
    for (const graft of this.grafts) graft.dispose();
    this.checkpoint.close();
  }
}

export const openRuntime = Runtime.open;

function at({ hidden }: Features, positions: Int32Array): Features {
  const rows = tf.reshape(hidden, [-1, hidden.shape.at(-1)!]) as Tensor2D;
  return { hidden: embedding(rows, tf.tensor2d(positions, [1, positions.length], 'int32')), mask: null };
}
