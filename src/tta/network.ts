import { tf, variableGradients, type Tensor, type Tensor2D, type Tensor4D, type Variable } from '@graft/kernels';
import { ActiveGraft } from '../adapters/active.js';
import type { Method } from '../adapters/method.js';
import { Forward, type ForwardOptions, type WeightSource } from '../models/forward.js';
import type { Head, Model } from '../models/model.js';
import { pixelRows } from '../models/segment-head.js';
import type { Site } from '../models/site.js';
import { buffersOf, isBatchNorm, type Statistics } from './statistics.js';

/** The source model θ₀: frozen, with the grafts it was deployed with. */
export class Source {
  constructor(readonly model: Model, readonly weights: WeightSource, readonly grafts: readonly ActiveGraft[], readonly head: Head) {}

  /**
   * A copy of the network whose tensors named in `names` are its own variables, started from θ₀.
   * @param buffers names of tensors that are its own but not trained: statistics that move
   * @param added trained tensors the checkpoint does not have, by name, with what they start from: a change of `with` finds them by `pass.weight`
   */
  copy(names: readonly string[], statistics: Statistics, buffers: readonly string[] = [], added: ReadonlyMap<string, Tensor> = new Map()): Network {
    const start = (n: string): Tensor => added.get(n) ?? this.value(n);
    const own = [...names, ...added.keys()].map((n) => [n, ownVariable(start(n), true)] as const);
    return new Network(this, new Map([...own, ...buffers.map((n) => [n, ownVariable(this.value(n), false)] as const)]), statistics);
  }

  /** The same model with one more change of its forward pass, below those of the copies made of it, or with other values of some tensors. */
  with(change: Method, tensors: ReadonlyMap<string, Tensor> = new Map()): Source {
    return new Source(this.model, this.weights, [...this.grafts, new ActiveGraft(change, {}, this.model, null, new Map(tensors), new Map())], this.head);
  }

  /** The tensor θ₀ has under a checkpoint name. */
  value(name: string): Tensor {
    return this.forward().weight(name);
  }

  /** Names of γ and β of every normalisation, or of those of some sites. */
  affine(sites: readonly Site[] = this.model.sites): string[] {
    return this.present(sites.filter((s) => s.kind === 'norm').flatMap((s) => [s.weight, s.bias]).filter((n) => n !== undefined));
  }

  /** Names of the running statistics of batch normalisation. */
  buffers(): string[] {
    return this.present(this.model.sites.filter(isBatchNorm).flatMap(buffersOf));
  }

  /** Names of every weight and bias in use, heads included. */
  parameters(): string[] {
    return this.present(namesOf(this.model.sites));
  }

  /** Those that the checkpoint or a graft has: the tensors of heads of other tasks are nowhere. */
  private present(names: readonly string[]): string[] {
    const forward = this.forward();
    return names.filter((n) => forward.has(n));
  }

  /** The parameters but those of the head. */
  extractor(): string[] {
    const head = new Set(namesOf(this.model.sites.filter((s) => s.role === 'head')));
    return this.parameters().filter((n) => !head.has(n));
  }

  /** The last dense layer: W [C, d] and b [C]. */
  classifier(): { weight: Tensor2D; bias: Tensor | null } {
    const { weight, bias } = this.model.sites.filter(isHead).at(-1)!;
    return { weight: this.value(weight!) as Tensor2D, bias: bias !== undefined && this.forward().has(bias) ? this.value(bias) : null };
  }

  /** A class is predicted for every pixel. */
  get dense(): boolean {
    return this.head.task === 'segment';
  }

  /** C. */
  get classes(): number {
    return this.dense ? this.head.labels!.length : this.classifier().weight.shape[0];
  }

  private forward(): Forward {
    return new Forward(this.model.sites, this.weights, this.grafts);
  }
}

/** A dense layer of the task head. */
export const isHead = (site: Site): boolean => site.kind === 'linear' && site.role === 'head' && site.task === undefined;
const namesOf = (sites: readonly Site[]): string[] => [...new Set(sites.flatMap((s) => [s.weight, s.bias]).filter((n) => n !== undefined))];

/** A variable with values of its own: optimisers write in place, and the checkpoint's are mapped. */
const ownVariable = (t: Tensor, trained: boolean): Variable => tf.tidy(() => tf.variable(ownValues(t), trained));

/** A copy of the values; tf.clone would share them. */
export const ownValues = (t: Tensor): Tensor => tf.tensor(t.dataSync().slice(), t.shape);

/** One copy of the network in use. */
export class Network {
  private readonly graft: ActiveGraft;

  constructor(private readonly source: Source, readonly own: ReadonlyMap<string, Variable>, statistics: Statistics) {
    this.graft = new ActiveGraft(statistics, {}, source.model, null, new Map(own), new Map());
  }

  /** The same tensors under other statistics. Only one of the two is to be disposed of. */
  under(statistics: Statistics): Network {
    return new Network(this.source, this.own, statistics);
  }

  /** Its own tensors that are trained. */
  get trained(): Map<string, Variable> {
    return new Map([...this.own].filter(([, v]) => v.trainable));
  }

  /** Logits [B, C] of pixels [B, H, W, 3] in evaluation mode (no dropout); of dense predictions one row a pixel, [B · H · W, C]. */
  logits(pixels: Tensor4D): Tensor2D {
    return pixelRows(this.run(pixels));
  }

  /** The maps [B, H, W, C] of dense predictions. */
  maps(pixels: Tensor4D): Tensor4D {
    return this.run(pixels) as Tensor4D;
  }

  /** It reads images of one size alone. */
  get oneSize(): boolean {
    return this.source.model.sites.some((s) => s.kind === 'tokens');
  }

  /** Logits are of pixels. */
  get dense(): boolean {
    return this.source.dense;
  }

  /** The same, with what the last dense layer reads: [B, d]. */
  predict(pixels: Tensor4D): { features: Tensor2D; logits: Tensor2D } {
    let features!: Tensor2D;
    const logits = this.run(pixels, { observe: (site, x) => { if (isHead(site)) features = x as Tensor2D; } }) as Tensor2D;
    return { features, logits };
  }

  private run(pixels: Tensor4D, options: ForwardOptions = {}): Tensor {
    const { model, weights, grafts, head } = this.source;
    const forward = new Forward(model.sites, weights, [...grafts, this.graft], options);
    return model.logits(forward, model.backbone(forward, { kind: 'image', pixels }), head);
  }

  /** The loss's gradient with respect to the trained tensors, by name, and what `loss` returned beside it. */
  gradients<T extends Tensor>(loss: () => { loss: Tensor; kept: T }): { grads: Map<string, Tensor>; kept: T } {
    let kept!: T;
    const { trained } = this;
    const { value, grads } = variableGradients(() => {
      const result = loss();
      kept = tf.keep(result.kept);
      return result.loss as tf.Scalar;
    }, [...trained.values()]);
    if ((value as Tensor) !== kept) value.dispose();
    return { grads: new Map([...trained].flatMap(([name, v]): [string, Tensor][] => (grads.has(v) ? [[name, grads.get(v)!]] : []))), kept };
  }

  dispose(): void {
    this.graft.dispose();
  }
}
