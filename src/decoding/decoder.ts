import { sampleRows, scoped, tf, type Drawn, type Sampling, type Tensor2D } from '@graft/kernels';
import { disposeBatch, padBatch } from '../data/encode.js';
import { GraftError } from '../errors.js';
import { unsoundWeight } from '../finite.js';
import type { Batch } from '../models/model.js';
import type { ForwardOptions } from '../models/forward.js';
import type { Pass } from '../models/site.js';
import type { Runtime } from '../runtime.js';
import { KeyValueCache } from './cache.js';

/** Counts that efficiency is judged by, machine or not. */
export interface Counts { passes: number; tokens: number }

/** Texts that grow together: logits of what follows each, a pass of the model at a time. */
export class Decoder {
  private readonly cache: KeyValueCache;
  /** The prompt each growing text came from. */
  private owners: number[];
  readonly counts: Counts = { passes: 0, tokens: 0 };

  /** @param reserve most tokens that will follow a prompt @param route what routed methods choose by, for each prompt @param gates see ForwardOptions */
  constructor(private readonly runtime: Runtime, private readonly prompts: readonly (readonly number[])[], reserve: number, private readonly route: Pass['route'],
    private readonly gates?: ForwardOptions['gates']) {
    this.cache = new KeyValueCache(prompts.length, reserve);
    this.owners = prompts.map((_, i) => i);
  }

  /** Whether prompts of different lengths can grow together: nothing in a pass needs to know which row a token is in. */
  static batches = (runtime: Runtime): boolean => runtime.forward().tokenwise;

  /** Reads the prompts: the logits [V] of each one's next token. */
  start(): Float32Array[] {
    return this.read(this.prompts);
  }

  /** Goes on from these of the growing texts, each by a token. */
  next(choices: readonly { parent: number; token: number }[]): Float32Array[] {
    this.select(choices.map((c) => c.parent));
    return this.read(choices.map((c) => [c.token]));
  }

  /** The same, and draws each one's next token where the logits are. */
  draw(choices: readonly { parent: number; token: number }[], sampling: Sampling, uniforms: readonly number[]): Drawn[] {
    this.select(choices.map((c) => c.parent));
    const drawn = this.pass(choices.map((c) => [c.token]), (logits) => sampleRows(logits, uniforms, sampling));
    this.mustBe(drawn.every((d) => Number.isFinite(d.score)));
    return drawn;
  }

  /** Only these go on, in this order; one may occur several times. */
  select(rows: readonly number[]): void {
    this.cache.select(rows);
    this.owners = rows.map((r) => this.owners[r]);
  }

  dispose(): void {
    this.cache.dispose();
  }

  /** The logits [V] of each text's next token. */
  private read(texts: readonly (readonly number[])[]): Float32Array[] {
    const rows = this.pass(texts, (logits) => {
      const values = logits.dataSync<'float32'>(), V = logits.shape[1];
      return texts.map((_, b) => values.slice(b * V, (b + 1) * V));
    });
    this.mustBe(rows.every((row) => Number.isFinite(row[0])));
    return rows;
  }

  private pass<R>(texts: readonly (readonly number[])[], use: (logits: Tensor2D) => R): R {
    const inputs = padBatch(texts.map((ids) => ({ ids: [...ids], types: ids.map(() => 0) })), 0);
    const T = inputs.ids.shape[1];
    const route = Object.fromEntries(Object.entries(this.route).map(([key, values]) => [key, this.owners.map((o) => values[o])]));
    const result = scoped(() => {
      const logits = this.runtime.logits(inputs as Batch, { past: this.cache, route, gates: this.gates }, Int32Array.from(texts, (ids, b) => b * T + ids.length - 1));
      return use(tf.reshape(logits, [texts.length, logits.shape.at(-1)!]) as Tensor2D);
    });
    this.cache.commit();
    disposeBatch(inputs as never);
    this.counts.passes++;
    this.counts.tokens += texts.reduce((n, ids) => n + ids.length, 0);
    return result;
  }

  private mustBe(finite: boolean): void {
    if (!finite) throw unsoundWeight(this.runtime) ?? new GraftError('the logits are not finite; the graft may have diverged in training');
  }
}
