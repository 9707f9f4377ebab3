import { putRows, tf, type Tensor, type Tensor4D, type Variable } from '@graft/kernels';
import type { AttentionInput, Past } from '../models/site.js';

/** One attention's keys or values, [rows, room, Hkv, dh]. */
type Store = Variable;

/**
 * The keys and values of every attention for tokens already read: 2 · layers · Hkv · dh floats a token. Rows may be of different
 * lengths; after the first pass each has room for `reserve` more tokens than the longest. A pass adds to it, and what it added counts
 * once `commit` is called.
 */
export class KeyValueCache implements Past {
  private readonly stores = new Map<string, { k: Store; v: Store }>();
  private used: number[];
  /** What the pass under way adds to each row. */
  private added: readonly number[] = [];
  private room = 0;

  constructor(rows: number, private readonly reserve: number) {
    this.used = new Array<number>(rows).fill(0);
  }

  get lengths(): readonly number[] {
    return this.used;
  }

  /**
   * Rows of the pass are those of the cache, in their order, [B, n, …], or one after another, [1, N, …] with `lengths`; a pass over
   * rows that were read before brings the same number of tokens for each.
   * @throws Error where there is no more room
   */
  extend(site: string, input: AttentionInput): AttentionInput {
    const { q, k, v, lengths } = input;
    const rows = this.used.length, added = this.added = lengths ?? new Array<number>(rows).fill(k.shape[1]);
    this.room ||= Math.max(...added) + this.reserve;
    const store = this.store(site, k);
    const [, , heads, width] = k.shape;
    if (added.some((n, b) => this.used[b] + n > this.room)) throw new Error(`a cache of ${this.room} tokens a row is full`);
    for (const [into, from] of [[store.k, k], [store.v, v]] as const) putRows(into, from, heads * width, added, this.used.map((n, b) => b * this.room + n));
    if (this.used.every((n) => n === 0)) return input;
    if (added.some((n) => n !== added[0])) throw new Error('rows that go on need the same number of new tokens each');
    const of = (t: Tensor4D): Tensor4D => tf.reshape(t, [rows, added[0], t.shape[2], t.shape[3]]);
    const filled = this.used.map((n) => n + added[0]);
    return { ...input, q: of(q), k: store.k as Tensor4D, v: store.v as Tensor4D, lengths: undefined, keyMask: null, filled };
  }

  /** The tokens of the pass that has ended belong to their rows now. */
  commit(): void {
    this.used = this.used.map((n, b) => n + (this.added[b] ?? 0));
    this.added = [];
  }

  /** Forgets what lies beyond the first tokens of each row. */
  crop(lengths: readonly number[]): void {
    this.used = this.used.map((n, b) => Math.min(n, lengths[b]));
  }

  /** Goes on with these rows, in this order; one may occur several times. */
  select(rows: readonly number[]): void {
    if (rows.length === this.used.length && rows.every((r, i) => r === i)) return;
    const replace = (old: Store): Store => {
      const chosen = tf.tidy(() => tf.variable(tf.gather(old, tf.tensor1d([...rows], 'int32'))));
      old.dispose();
      return chosen;
    };
    for (const store of this.stores.values()) {
      store.k = replace(store.k);
      store.v = replace(store.v);
    }
    this.used = rows.map((r) => this.used[r]);
  }

  dispose(): void {
    for (const { k, v } of this.stores.values()) tf.dispose([k, v]);
    this.stores.clear();
  }

  private store(site: string, like: Tensor): { k: Store; v: Store } {
    let store = this.stores.get(site);
    if (!store) {
      const make = (): Store => tf.tidy(() => tf.variable(tf.zeros([this.used.length, this.room, ...like.shape.slice(2)])));
      this.stores.set(site, (store = { k: make(), v: make() }));
    }
    return store;
  }
}
