import { Rng, tf } from '@graft/kernels';
import { baseOf } from '../adapters/base.js';
import dsee, { changeAt, packed, storedAt, type DseeConfig } from '../adapters/dsee.js';
import { configOf } from '../adapters/instantiate.js';
import { targetSites } from '../adapters/targets.js';
import { usageError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { checkFits, loadTensor, storeTensor, type Graft } from '../formats/graft.js';
import { alignNames } from '../formats/naming.js';
import { loadModel } from '../models/registry.js';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';

export interface PruneOptions {
  /** What entries of W are ranked by, as DSEE calls it: A B is s·U V, S is s·S₂. */
  by: 'abs' | 'ab' | 'wab' | 'wabs' | 'w' | 'random';
  /** Share of entries that go: of the modules the graft changes, and, by |W|, of the other dense ones in the blocks. */
  ratio: number;
  /** Instead of entries, so many whole attention heads a layer. */
  heads?: number;
  seed: number;
}

/**
 * A DSEE graft with a mask of what its update shows to matter least in the frozen weights (section 3.3); training goes on with it.
 * @throws GraftError (usage) for a graft of another method, one that is masked already, or a model whose heads cannot be told apart
 */
export async function prune(checkpoint: Checkpoint, given: Graft, options: PruneOptions): Promise<Graft> {
  if (given.method !== 'dsee') throw usageError(`--prune is for dsee grafts; this one is ${given.method}`);
  const graft = alignNames(given, checkpoint);
  checkFits(graft, checkpoint);
  const config = configOf(dsee, graft) as DseeConfig;
  if (config.masked) throw usageError('--prune: this graft has been pruned before');
  const model = await loadModel(checkpoint);
  const p = new Pruning(checkpoint, model, graft, config, options);
  const masks = options.heads === undefined ? p.entries() : p.wholeHeads(options.heads);
  for (const [site, kept] of masks) p.tensors.set(`${site.name}.dsee_mask`, { dtype: 'I32', shape: [Math.ceil(kept.length / 32)], data: new Uint8Array(packed(kept).buffer) });
  return { ...graft, config: { ...graft.config, masked: [...masks.keys()].map((s) => s.name) }, tensors: p.tensors };
}

class Pruning {
  readonly tensors: Graft['tensors'];
  private readonly targets: Site[];

  constructor(private readonly checkpoint: Checkpoint, private readonly model: Model, private readonly graft: Graft, private readonly config: DseeConfig, private readonly o: PruneOptions) {
    this.tensors = new Map(graft.tensors);
    this.targets = targetSites(model, config, ['linear']);
  }

  /** The least entries over all modules of a kind together, exactly round((1 − p)·size) of them kept. */
  entries(): Map<Site, Uint8Array> {
    const others = this.model.sites.filter((s) => s.kind === 'linear' && s.role !== 'head' && s.layer >= 0 && s.layer < this.model.layers && !this.targets.includes(s));
    return new Map([...this.least(this.targets, (s) => this.scores(s, this.o.by)), ...this.least(others, (s) => this.scores(s, this.o.by === 'random' ? 'random' : 'w'))]);
  }

  private least(sites: readonly Site[], scores: (site: Site) => Float32Array): Map<Site, Uint8Array> {
    const sizes = sites.map((s) => s.dimIn * s.dimOut), all = new Float32Array(sizes.reduce((a, b) => a + b, 0));
    sites.reduce((at, s, i) => { all.set(scores(s), at); return at + sizes[i]; }, 0);
    let going = all.length - Math.round((1 - this.o.ratio) * all.length);
    const limit = going > 0 ? all.slice().sort()[going - 1] : -Infinity;
    for (const v of all) if (v < limit) going--; // what is left goes from among those at the limit
    const kept = Uint8Array.from(all, (v) => (v < limit || (v === limit && going-- > 0) ? 0 : 1));
    let at = 0;
    return new Map(sites.map((s, i) => [s, kept.slice(at, (at += sizes[i]))]));
  }

  /** Of each layer the heads whose rows in the update are least. */
  wholeHeads(count: number): Map<Site, Uint8Array> {
    const masks = new Map<Site, Uint8Array>();
    for (const attention of this.model.sites.filter((s) => s.kind === 'attention')) {
      const [query, key, value, output] = ['query', 'key', 'value', 'output'].map((role) => this.model.sites.find((s) => s.kind === 'linear' && s.layer === attention.layer && s.role === role));
      const { heads, headDim, kvHeads } = attention as Required<Site>;
      if (!query || !key || !value || !output || kvHeads !== heads) throw usageError(`--heads: ${attention.name} has no query, key, value and output module with rows of its own for each head`);
      if (!Number.isInteger(count) || count < 1 || count >= heads) throw usageError(`--heads ${count}: between 1 and ${heads - 1} of the ${heads} heads of ${attention.name} can go`);
      const of = (row: number): number => Math.floor(row / headDim);
      const score = new Float64Array(heads);
      for (const site of [query, value].filter((s) => this.targets.includes(s))) {
        this.scores(site, this.o.by).forEach((v, i) => { score[of(site.transposed ? i % site.dimOut : Math.floor(i / site.dimIn))] += v; });
      }
      const gone = new Set(Array.from(score.keys()).sort((a, b) => score[a] - score[b] || a - b).slice(0, count));
      for (const site of [query, key, value, output]) {
        const kept = new Uint8Array(site.dimIn * site.dimOut).fill(1);
        for (let o = 0; o < site.dimOut; o++) for (let i = 0; i < site.dimIn; i++) if (gone.has(of(site === output ? i : o))) kept[storedAt(site, o, i)] = 0;
        masks.set(site, kept);
        if (site !== output && this.targets.includes(site)) this.clearRows(site, (row) => gone.has(of(row)));
      }
    }
    return masks;
  }

  /** Rows of U and S₂ that belong to heads that go. */
  private clearRows(site: Site, goes: (row: number) => boolean): void {
    const clear = (name: string, rowOf: (i: number) => number): void => {
      const stored = this.tensors.get(`${site.name}.${name}`)!;
      const values = loadTensor(name, stored).dataSync().slice() as Float32Array;
      this.tensors.set(`${site.name}.${name}`, storeTensor(tf.tensor(values.map((v, i) => (goes(rowOf(i)) ? 0 : v)), stored.shape)));
    };
    clear('dsee_U', (i) => Math.floor(i / this.config.rank));
    if (this.config.sparse === 0) return;
    const index = loadTensor('dsee_S_index', this.tensors.get(`${site.name}.dsee_S_index`)!).dataSync();
    clear('dsee_S_value', (i) => Math.floor(index[i] / site.dimIn));
  }

  /** |what the entries are ranked by|, in the order the weight is stored in. */
  private scores(site: Site, by: PruneOptions['by']): Float32Array {
    const { graft, config, checkpoint, o } = this;
    if (by === 'random') {
      const rng = new Rng('prune', o.seed, site.name);
      return Float32Array.from({ length: site.dimIn * site.dimOut }, () => rng.uniform());
    }
    const W = by.startsWith('w') ? baseOf(checkpoint).values(site.weight!) : null;
    if (by === 'w') return W!.map(Math.abs);
    return tf.tidy(() => {
      const names = ['dsee_U', 'dsee_V', ...(by.endsWith('s') && config.sparse > 0 ? ['dsee_S_index', 'dsee_S_value'] : [])];
      const { A, B, scale } = changeAt(site, Object.fromEntries(names.map((n) => [n, loadTensor(n, graft.tensors.get(`${site.name}.${n}`)!)])), config.alpha / config.rank);
      const delta = tf.mul(tf.matMul(B, A), scale), own = (site.transposed ? tf.transpose(delta) : delta).dataSync() as Float32Array;
      return own.map((v, i) => Math.abs(v + (W?.[i] ?? 0)));
    });
  }
}
