import { lowRank, dropout, tf, untracked, type Tensor, type Tensor4D, type Variable } from '@graft/kernels';
import type { Model } from '../models/model.js';
import type { AttentionCall, Pass, Site, SiteCall, Tokens } from '../models/site.js';
import type { Method, Params } from './method.js';
import type { WeightSource } from '../models/forward.js';

/** A graft in use: a method, its configuration, and its tensors on the backend, bound to the sites of one model. */
export class ActiveGraft {
  private readonly acts = new Map<string, Params>();
  private readonly bases = new Map<string, Tensor>();

  /**
   * @param tensors every tensor of the graft by its stored name; trained ones are tf.Variables
   * @param weights the frozen model, for methods that rewrite its weights once
   */
  constructor(readonly method: Method, readonly config: Record<string, unknown>, readonly model: Model, readonly tensors: Map<string, Variable | Tensor>, private readonly weights: WeightSource) {
    this.bind();
  }

  /** Binds tensors to sites; called again after a method grew, shrank or dropped some. */
  bind(): void {
    this.acts.clear();
    const sites = this.method.sites(this.model, this.config);
    const shared = (this.method.shared?.(this.model, this.config, sites) ?? []).map((s) => s.name);
    for (const site of sites) {
      const p: Params = {};
      for (const { name } of this.method.params(site, this.config, this.model)) {
        const tensor = this.tensors.get(`${site.name}.${name}`);
        if (tensor) p[name] = tensor;
      }
      for (const name of shared) if (this.tensors.has(name)) p[name] = this.tensors.get(name)!;
      this.acts.set(key(site), p);
    }
    this.rebase(sites);
  }

  private rebase(sites: readonly Site[]): void {
    for (const t of this.bases.values()) t.dispose();
    this.bases.clear();
    if (!this.method.rebase) return;
    for (const site of sites) {
      const W = untracked(() => tf.tidy(() => this.method.rebase!(site, this.weights.get(site.weight!), this.acts.get(key(site))!, this.config)));
      this.bases.set(key(site), tf.keep(W));
    }
  }

  /** The graft changes what this site computes (beyond replacing its tensors). */
  changes(site: Site): boolean {
    return this.acts.has(key(site)) && (this.method.change !== undefined || this.method.weightChange !== undefined);
  }

  /** A whole tensor of the checkpoint that this graft replaces (a trained weight, a head). */
  replacement(name: string): Tensor | undefined {
    return this.tensors.get(name);
  }

  rebased(site: Site): Tensor | undefined {
    return this.bases.get(key(site));
  }

  change(site: Site): ((call: SiteCall) => Tensor) | undefined {
    const p = this.acts.get(key(site));
    if (!p) return undefined;
    const { method, config } = this;
    if (method.change) return (call) => method.change!(call, p, config);
    if (method.weightChange && site.kind === 'linear') return (call) => this.linearChange(call, p);
    return undefined;
  }

  /** y = base(x) + s·(drop(x) Aᵀ) Bᵀ. */
  private linearChange(call: SiteCall, p: Params): Tensor {
    const { A, B, scale } = this.method.weightChange!(call.site, p, this.config);
    const rate = call.pass.train ? Number(this.config.dropout ?? 0) : 0;
    const x = dropout(call.x, rate, call.pass.seed, call.pass.step, call.site.name);
    return lowRank(call.base(call.x), x, A, B, scale);
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
    const trained = new Set([...this.tensors].filter(([, t]) => t instanceof tf.Variable && t.trainable).map(([n]) => n));
    if (trained.size === 0) return Infinity;
    let first = Infinity;
    const claimed = new Set<string>();
    for (const site of sites) {
      const own = [site.weight, site.bias, ...Object.keys(this.acts.get(key(site)) ?? {}).flatMap((n) => [`${site.name}.${n}`, n])].filter((n) => n !== undefined && trained.has(n));
      own.forEach((n) => claimed.add(n!));
      if (own.length > 0) first = Math.min(first, site.layer);
    }
    // A trained tensor no site owns (a class token, a position table) may enter at the bottom.
    return [...trained].every((n) => claimed.has(n)) ? first : -1;
  }

  dispose(): void {
    for (const t of this.bases.values()) t.dispose();
    for (const t of this.tensors.values()) t.dispose();
  }
}

const key = (site: Site): string => `${site.kind} ${site.name}`;
