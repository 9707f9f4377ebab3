import { tf, untracked, type Tensor, type Tensor4D, type Variable } from '@graft/kernels';
import type { Head, Model } from '../models/model.js';
import type { AttentionCall, Pass, Site, SiteCall, Tokens } from '../models/site.js';
import { runLowRank } from './low-rank.js';
import type { Method, Params, ParamSpec } from './method.js';

/** A graft in use: a method, its configuration, and its tensors on the backend, bound to the sites of one model. */
export class ActiveGraft {
  private readonly acts = new Map<string, Params>();
  /** The weights a method rebased, with what each was made from. */
  private readonly bases = new Map<string, { from: Tensor; to: Tensor }>();
  /** Every tensor but those that training added. */
  private readonly declared: ReadonlySet<string>;

  /**
   * @param tensors every tensor of the graft by its stored name; trained ones are tf.Variables
   * @param specs what each tensor is: weight decay and learning-rate scale are found here
   */
  constructor(readonly method: Method, readonly config: Record<string, unknown>, readonly model: Model, readonly head: Head | null,
    readonly tensors: Map<string, Variable | Tensor>, readonly specs: Map<string, ParamSpec>) {
    this.declared = new Set(specs.keys());
    this.bind();
  }

  /** Binds tensors to sites; called again after a method grew, shrank or dropped some. */
  bind(): void {
    this.acts.clear();
    this.forgetBases();
    const sites = this.method.sites(this.model, this.config);
    const added = [...this.tensors.keys()].filter((name) => !this.declared.has(name));
    const shared = (this.method.shared?.(this.model, this.config, sites) ?? []).map((s) => s.name);
    for (const site of sites) {
      const p: Params = {};
      for (const { name } of this.method.params(site, this.config, this.model)) {
        const tensor = this.tensors.get(`${site.name}.${name}`);
        if (tensor) p[name] = tensor;
      }
      for (const name of shared) if (this.tensors.has(name)) p[name] = this.tensors.get(name)!;
      for (const name of added) if (name.startsWith(`${site.name}.`)) p[name.slice(site.name.length + 1)] = this.tensors.get(name)!;
      this.acts.set(key(site), p);
    }
  }

  /** The sites it acts at, with their parameters. */
  get sites(): Map<Site, Params> {
    return new Map(this.method.sites(this.model, this.config).map((s) => [s, this.acts.get(key(s))!]));
  }

  private forgetBases(): void {
    for (const { to } of this.bases.values()) to.dispose();
    this.bases.clear();
  }

  /** The tensors in training, by stored name. */
  get trained(): Map<string, Variable> {
    return new Map([...this.tensors].filter((e): e is [string, Variable] => isTrained(e[1])));
  }

  get positionOffset(): number {
    return this.method.positionOffset?.(this.config) ?? 0;
  }

  /** What the graft does to a token does not depend on which row it is in. */
  get tokenwise(): boolean {
    const { attention, tokens, taps, change, tokenwise } = this.method;
    return !taps && (this.acts.size === 0 || (!attention && !tokens && (!change || tokenwise === true)));
  }

  /** The graft has tensors of its own at this site. */
  actsAt(site: Site): boolean {
    return this.acts.has(key(site));
  }

  /** The graft changes what this site computes (beyond rewriting or replacing its tensors). */
  changes(site: Site): boolean {
    return this.change(site) !== undefined;
  }

  /** A whole tensor of the checkpoint that this graft replaces (a trained weight, a head). */
  replacement(name: string): Tensor | undefined {
    return this.tensors.get(name);
  }

  /** W, stored as in the checkpoint, as this graft rewrites it at the site; W itself where it does not. */
  rewritten(site: Site, W: Tensor): Tensor {
    const p = this.acts.get(key(site));
    if (!p) return W;
    const base = this.method.rebase ? this.rebased(site, W, p) : W;
    return this.method.reweight ? this.method.reweight(site, base, p, this.config) : base;
  }

  private rebased(site: Site, W: Tensor, p: Params): Tensor {
    const known = this.bases.get(key(site));
    if (known?.from === W) return known.to;
    const to = untracked(() => tf.tidy(() => {
      const t = this.method.rebase!(site, W, p, this.config);
      return t && tf.keep(t);
    }));
    if (!to) return W;
    known?.to.dispose();
    this.bases.set(key(site), { from: W, to });
    return to;
  }

  change(site: Site): ((call: SiteCall) => Tensor) | undefined {
    const p = this.acts.get(key(site));
    if (!p) return undefined;
    const { method, config } = this;
    const inWeight = site.kind === 'linear' || site.kind === 'conv' || site.kind === 'embedding';
    if (method.change) return (call) => method.change!(call, p, config);
    if (method.weightChange && inWeight) return (call) => runLowRank(call, method.weightChange!(site, p, config), Number(config.dropout ?? 0));
    return undefined;
  }

  attentionChange(site: Site): ((call: AttentionCall) => Tensor4D) | undefined {
    const p = this.acts.get(key(site));
    const { method, config } = this;
    return p && method.attention ? (call) => method.attention!(call, p, config) : undefined;
  }

  tokensChange(site: Site): ((tokens: Tokens, pass: Pass) => Tokens) | undefined {
    const p = this.acts.get(key(site));
    const { method, config } = this;
    return p && method.tokens ? (t, pass) => method.tokens!(t, p, config, pass) : undefined;
  }

  /** The lowest layer with a trained tensor; Infinity when nothing is trained. */
  firstTrainedLayer(sites: readonly Site[]): number {
    const unclaimed = new Set(this.trained.keys());
    const trained = new Set(unclaimed);
    let first = Infinity;
    const claim = (names: (string | undefined)[], layer: number): void => {
      const own = names.filter((n) => n !== undefined && trained.has(n));
      own.forEach((n) => unclaimed.delete(n!));
      if (own.length > 0) first = Math.min(first, layer);
    };
    for (const site of sites) {
      const params = Object.keys(this.acts.get(key(site)) ?? {}).flatMap((n) => [`${site.name}.${n}`, n]);
      claim([site.weight, site.bias, `${site.name}.bias`, ...params], site.layer);
    }
    claim(this.head ? this.model.headTensors(this.head).map((t) => t.name) : [], this.model.layers);
    // A trained tensor no site owns (a class token, a position table) may enter at the bottom.
    return unclaimed.size > 0 ? -1 : first;
  }

  dispose(): void {
    this.forgetBases();
    for (const t of this.tensors.values()) t.dispose();
  }
}

export const isTrained = (t: Tensor): t is Variable => t instanceof tf.Variable && t.trainable;

const key = (site: Site): string => `${site.kind} ${site.name}`;
