import { activate, attention, batchNorm, conv2d, dropout, dropoutMask, embedding, groupNorm, layerNorm, linear, recomputed, rmsNorm, tf, untracked, type Activation, type ConvOptions, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import { normaliseInTraining } from './batch-norm.js';
import type { AttentionInput, Pass, Past, Site, SiteCall, Tokens, Weights } from './site.js';

/** Where a forward pass finds its weights: float32 tensors by checkpoint name. */
export interface WeightSource {
  get(name: string): Tensor;
  has(name: string): boolean;
}

export interface ForwardOptions {
  train?: boolean;
  seed?: number;
  step?: number;
  /** In training the checkpoint's own dropout acts as well, not the grafts' alone. */
  modelDropout?: boolean;
  /** Record the output of every block in `taps`. */
  taps?: boolean;
  route?: Pass['route'];
  /** Earlier tokens of the rows, which this pass goes on from. */
  past?: Past;
  /** Everything is recorded for gradients, below what is trained too: those of the input are wanted. */
  record?: boolean;
  /** Of a recorded block nothing is kept but its input: the backward pass runs it again. */
  recompute?: boolean;
  /** Observes the input of linear and convolution sites before they run (data-driven initialisation); tokens may come without padding, [1, N, d]. */
  observe?: (site: Site, x: Tensor) => void;
  /** Observes the weights of what a gated method chooses from, [..., N] for tokens [...], at each of its sites. */
  gates?: Pass['gates'];
  /** What linear, convolution and embedding sites run with in place of their weight, as stored. */
  exchange?: (site: Site, W: Tensor) => Tensor;
  /** The losses of rows from what the last layer of a head reads and its weights: they stand in the logits' place where nothing else looks at those. */
  losses?: RowLosses;
}

/** @returns [N], for N rows of `x` */
export type RowLosses = (x: Tensor, W: Tensor2D, b: Tensor1D | null) => Tensor1D;

/**
 * One forward pass of a model with its grafts. A model calls a method here for every site; the active grafts answer in the
 * order they were attached, each wrapping what lies beneath it. Models know nothing of adapters, adapters nothing of models.
 */
export class Forward implements Pass {
  readonly train: boolean;
  readonly seed: number;
  readonly step: number;
  readonly taps = new Map<string, Tensor>();
  readonly notes = new Map<string, Tensor>();
  readonly route: Pass['route'];
  /** What `losses` gave; null where the pass gave logits. */
  scored: Tensor1D | null = null;
  private readonly sites: Map<string, Site>;
  /** The first layer where something is trained: below it nothing is recorded for gradients. */
  private readonly firstTrained: number;

  constructor(sites: readonly Site[], private readonly weights: WeightSource, private readonly grafts: readonly ActiveGraft[], private readonly options: ForwardOptions = {}) {
    this.train = options.train ?? false;
    this.seed = options.seed ?? 0;
    this.step = options.step ?? 0;
    this.route = options.route ?? {};
    this.sites = indexSites(sites);
    this.firstTrained = options.record ? -1 : Math.min(...grafts.map((g) => g.firstTrainedLayer(sites)), Infinity);
  }

  /** A tensor by its checkpoint name; the last graft that replaces it wins. */
  weight(name: string): Tensor {
    for (let i = this.grafts.length - 1; i >= 0; i--) {
      const replaced = this.grafts[i].replacement(name);
      if (replaced) return replaced;
    }
    return this.weights.get(name);
  }

  has(name: string): boolean {
    return this.weights.has(name) || this.grafts.some((g) => g.replacement(name) !== undefined);
  }

  get gates(): Pass['gates'] {
    return this.options.gates;
  }

  /** The site's bias; a graft may give one to a site that has none. */
  private bias(site: Site): Tensor1D | null {
    const name = site.bias ?? `${site.name}.bias`;
    return this.has(name) ? (this.weight(name) as Tensor1D) : null;
  }

  /** What is added to the position of every token. */
  private get positionOffset(): number {
    return this.grafts.reduce((n, g) => n + g.positionOffset, 0);
  }

  /** Earlier tokens of the rows; null in a pass that starts from nothing and remembers nothing. */
  get past(): Past | null {
    return this.options.past ?? null;
  }

  /** Where row b's tokens begin. */
  firstPosition(b: number): number {
    return this.positionOffset + (this.past?.lengths[b] ?? 0);
  }

  /** Nothing in this pass needs to know which row a token is in. */
  get tokenwise(): boolean {
    return !this.options.taps && this.grafts.every((g) => g.tokenwise);
  }

  /** Tokens whose outputs nobody reads can be left out: nothing in this pass wants them but the tokens that read them. */
  get narrows(): boolean {
    return this.tokenwise && !this.options.observe && !this.past && this.grafts.every((g) => !g.method.auxiliary);
  }

  /** Runs what lies below the first block; unless something is trained there, it leaves nothing on the tape. */
  stem<T extends Tensor | Tokens>(run: () => T): T {
    return this.within(-1, run);
  }

  private within<T extends Tensor | Tokens>(layer: number, run: () => T): T {
    // Notes outlive the block as its result does.
    const tidy = (): T => (tf.tidy(() => ({ result: run(), notes: [...this.notes.values()] }) as never) as { result: T }).result;
    return layer < this.firstTrained ? untracked(tidy) : tidy();
  }

  /**
   * Runs one block; below the first trained layer it leaves nothing on the tape. Tensors made inside it are freed at its end:
   * what a change wants to hand on must be kept.
   */
  block(name: string, x: Tensor, run: (x: Tensor) => Tensor): Tensor {
    const site = this.site('block', name);
    const once = (): Tensor => this.within(site.layer, () => this.at(site, x, run));
    const y = this.options.recompute && site.layer >= this.firstTrained ? this.repeatable(once) : once();
    if (this.options.taps || this.grafts.some((g) => g.method.taps)) this.taps.set(name, y);
    return y;
  }

  /** A block that can be run again for its gradients; what its changes note is a result of it too, and stays that of the first run. */
  private repeatable(run: () => Tensor): Tensor {
    const before = [...this.notes];
    let first = true;
    const [y] = recomputed(() => {
      const now = [...this.notes];
      refill(this.notes, before);
      const outputs = [run(), ...[...this.notes].filter(([key, t]) => !before.some(([k, u]) => k === key && u === t)).map(([, t]) => t)];
      if (!first) refill(this.notes, now);
      first = false;
      return outputs;
    });
    return y;
  }

  /** y = act(x Wᵀ + b) at a linear site. */
  linear(name: string, x: Tensor, activation: Activation = 'none'): Tensor {
    const site = this.site('linear', name);
    this.options.observe?.(site, x);
    const layout = site.transposed ? 'io' : 'oi';
    const changed = this.grafts.some((g) => g.changes(site));
    const base = (z: Tensor): Tensor => {
      const { W, b } = this.frozen(site);
      return linear(z, W as Tensor2D, b, { layout, activation: changed ? 'none' : activation, exact: site.role === 'head' });
    };
    return changed ? activate(this.at(site, x, base), activation) : base(x);
  }

  /** The last layer of a head: its logits, or the losses of its rows. */
  readOut(name: string, x: Tensor): Tensor {
    const site = this.site('linear', name), logits = this.site('logits', 'logits'), { losses, observe } = this.options;
    if (!losses || observe || this.grafts.some((g) => g.changes(site) || g.changes(logits))) return this.linear(name, x);
    const { W, b } = this.frozen(site);
    return (this.scored = losses(x, W as Tensor2D, b));
  }

  conv(name: string, x: Tensor4D, options: ConvOptions = {}): Tensor4D {
    const site = this.site('conv', name);
    this.options.observe?.(site, x);
    return this.at(site, x, (z) => {
      const { W, b } = this.frozen(site);
      return conv2d(z as Tensor4D, W as Tensor4D, b, options);
    }) as Tensor4D;
  }

  embedding(name: string, ids: Tensor): Tensor {
    const site = this.site('embedding', name);
    return this.at(site, ids, (z) => embedding(this.frozen(site).W as Tensor2D, z));
  }

  /** A normalisation site; batch statistics are the stored ones unless a graft decides otherwise. */
  norm(name: string, x: Tensor): Tensor {
    const site = this.site('norm', name);
    return this.at(site, x, (z) => this.normalise(site, z));
  }

  private normalise(site: Site, x: Tensor): Tensor {
    const gamma = this.weight(site.weight!) as Tensor1D;
    const { type, epsilon, groups } = site.norm!;
    if (type === 'rms') return rmsNorm(x, gamma, epsilon);
    const beta = this.weight(site.bias!) as Tensor1D;
    if (type === 'group') return groupNorm(x as Tensor4D, gamma, beta, groups!, epsilon);
    if (type === 'layer') return layerNorm(x, gamma, beta, epsilon);
    const [mean, variance] = ['running_mean', 'running_var'].map((s) => this.weight(`${site.name}.${s}`) as Tensor1D);
    // A head in training moves its own.
    if (this.train && site.role === 'head' && mean instanceof tf.Variable && variance instanceof tf.Variable) return normaliseInTraining(x, gamma, beta, epsilon, [mean, variance]);
    return batchNorm(x as Tensor4D, mean, variance, gamma, beta, epsilon);
  }

  /** Per-head attention; grafts may extend keys and values or add to the result. Returns [B, Tq, H, dh]. */
  attention(name: string, x: Tensor, given: AttentionInput): Tensor4D {
    const site = this.site('attention', name);
    const extended = this.past?.extend(name, given) ?? given;
    const input = this.grafts.some((g) => g.attentionChange(site)) ? withoutRoom(extended) : extended;
    const mask = dropoutMask(this.modelRate(site.dropout), ...this.modelSeed('attention', name));
    let run = ({ q, k, v, ...o }: AttentionInput): Tensor4D => attention(q, k, v, { ...o, dropout: mask });
    for (const graft of this.grafts) {
      const change = graft.attentionChange(site);
      if (change) {
        const base = run;
        run = (i) => change({ site, input: i, base, x, pass: this });
      }
    }
    const out = run(input);
    return this.past ? tf.reshape(out, given.q.shape) : out;
  }

  /** What a sub-layer writes, before its residual addition. */
  output(kind: 'attention.output' | 'ffn.output', name: string, x: Tensor, base: (x: Tensor) => Tensor, extra: Pick<SiteCall, 'stream' | 'norm' | 'mid'>): Tensor {
    const site = this.site(kind, name);
    return this.at(site, x, (z) => this.dropout(name, base(z), site.dropout, kind), extra);
  }

  /** The model's own dropout of hidden states. Outside training it leaves them as they are. */
  dropout(name: string, x: Tensor, rate?: number, kind = 'hidden'): Tensor {
    return dropout(x, this.modelRate(rate), ...this.modelSeed(kind, name));
  }

  private modelRate(rate = 0): number {
    return this.train && this.options.modelDropout ? rate : 0;
  }

  private modelSeed(kind: string, name: string): (string | number)[] {
    return ['model', this.seed, this.step, kind, name];
  }

  /** The token sequence that enters the first block; grafts may lengthen it. */
  tokens(name: string, tokens: Tokens): Tokens {
    const site = this.site('tokens', name);
    if (this.past?.lengths.some((n) => n > 0)) return tokens; // what goes before the text was read with it
    return this.grafts.reduce((t, g) => g.tokensChange(site)?.(t, this) ?? t, tokens);
  }

  pixels(name: string, x: Tensor): Tensor {
    return this.at(this.site('pixels', name), x, (z) => z);
  }

  logits(name: string, x: Tensor, base: (x: Tensor) => Tensor): Tensor {
    return this.at(this.site('logits', name), x, base);
  }

  private at(site: Site, x: Tensor, frozen: (x: Tensor) => Tensor, extra: Pick<SiteCall, 'stream' | 'norm' | 'mid'> = {}): Tensor {
    let run = frozen;
    for (const graft of this.grafts) {
      const change = graft.change(site);
      if (!change) continue;
      const base = run;
      run = (z) => change({ site, x: z, base, pass: this, ...extra });
    }
    return run(x);
  }

  /** The site's weights as the grafts see them, each rewriting what the earlier ones left (PiSSA's residual, masks). */
  frozen(site: Site): Weights {
    const W = this.grafts.reduce((w, g) => g.rewritten(site, w), this.weight(site.weight!));
    return { W: this.options.exchange?.(site, W) ?? W, b: site.kind === 'embedding' ? null : this.bias(site) };
  }

  private site(kind: Site['kind'], name: string): Site {
    const site = this.sites.get(`${kind} ${name}`);
    if (!site) throw new Error(`the model did not declare site ${kind} ${name}`);
    return site;
  }
}

/** The keys that are there alone, for changes that put others beside them. */
function withoutRoom({ filled, ...input }: AttentionInput): AttentionInput {
  if (!filled) return input;
  if (filled.some((n) => n !== filled[0])) throw new Error('rows of different lengths, and a change of their keys');
  const kept = (t: Tensor4D): Tensor4D => tf.slice(t, [0, 0, 0, 0], [-1, filled[0], -1, -1]);
  return { ...input, k: kept(input.k), v: kept(input.v) };
}

function refill<K, V>(map: Map<K, V>, entries: readonly [K, V][]): void {
  map.clear();
  for (const [key, value] of entries) map.set(key, value);
}

const indexes = new WeakMap<readonly Site[], Map<string, Site>>();

function indexSites(sites: readonly Site[]): Map<string, Site> {
  let index = indexes.get(sites);
  if (!index) indexes.set(sites, (index = new Map(sites.map((s) => [`${s.kind} ${s.name}`, s]))));
  return index;
}

