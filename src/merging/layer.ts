import { tf, type Tensor, type Tensor1D } from '@graft/kernels';
import { configOf, regenerated } from '../adapters/instantiate.js';
import { weightDelta } from '../adapters/low-rank.js';
import type { LowRankChange, Method, Params } from '../adapters/method.js';
import { dataError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { loadTensor, type Graft, type StoredTensor } from '../formats/graft.js';
import type { Model } from '../models/model.js';
import type { Site, Weights } from '../models/site.js';

/** One graft laid over the sites of a model, to be folded into its weights; its tensors are read when needed. @throws GraftError (65) where one is missing or of another shape */
export class Layer {
  /** What it changes, by the name of the weight and of the bias. */
  readonly sites = new Map<string, Site[]>();
  /** Whole tensors by checkpoint name. */
  readonly replaced = new Map<string, StoredTensor>();
  private readonly names = new Map<Site, Map<string, string>>();
  private readonly config: Record<string, unknown>;
  readonly graft: Graft;

  constructor(readonly method: Method, given: Graft, model: Model, base: Pick<Checkpoint, 'has'>) {
    this.config = configOf(method, given);
    const sites = method.sites(model, this.config);
    const shared = method.shared?.(model, this.config, sites) ?? [];
    const graft = this.graft = regenerated(given, new Map(shared.map((s) => [s.name, s])));
    const claimed = new Set(shared.map((s) => s.name));
    for (const site of sites) {
      const names = new Map(shared.map((s) => [s.name, s.name]));
      for (const spec of method.params(site, this.config, model)) {
        const name = `${site.name}.${spec.name}`, stored = graft.tensors.get(name);
        // A method may own tensors of the checkpoint itself at a site: running statistics.
        if (!base.has(name)) claimed.add(name);
        if (!stored) throw dataError(`the graft does not fit the model: '${name}' is not in it`);
        if (!spec.elastic && stored.shape.join() !== spec.shape.join()) throw dataError(`the graft's tensor '${name}' is [${stored.shape}]; ${method.name} with its configuration has [${spec.shape}]`);
        names.set(spec.name, name);
      }
      this.place(site, names);
    }
    for (const [name, tensor] of graft.tensors) if (!claimed.has(name)) this.replaced.set(name, tensor);
  }

  private place(site: Site, names: Map<string, string>): void {
    this.names.set(site, names);
    for (const name of [site.weight, site.bias ?? `${site.name}.bias`]) {
      if (name !== undefined) this.sites.set(name, [...(this.sites.get(name) ?? []), site]);
    }
  }

  private params(site: Site): Params {
    return Object.fromEntries([...this.names.get(site)!].map(([param, name]) => [param, loadTensor(name, this.graft.tensors.get(name)!)]));
  }

  get rewrites(): boolean {
    return this.method.rebase !== undefined || this.method.reweight !== undefined;
  }

  rewritten(site: Site, W: Tensor): Tensor {
    const { method, config } = this, p = this.params(site);
    const base = method.rebase?.(site, W, p, config) ?? W;
    return method.reweight?.(site, base, p, config) ?? base;
  }

  change(site: Site): LowRankChange | undefined {
    return this.method.weightChange?.(site, this.params(site), this.config);
  }

  /** Weight and bias with this graft's change. */
  folded(site: Site, now: Weights, frozen: Weights): Weights {
    if (this.method.fold) return this.method.fold(site, now, frozen, this.params(site), this.config);
    const change = this.change(site);
    if (!change) return now;
    const bias = change.bias && tf.mul(change.bias, change.scale);
    return { W: tf.add(now.W, weightDelta(site, change)), b: (bias && now.b ? tf.add(now.b, bias) : bias ?? now.b) as Tensor1D | null };
  }

  /** The site's parameters carry a change of its bias. */
  changesBias(site: Site): boolean {
    return tf.tidy(() => this.change(site)?.bias !== undefined);
  }
}
