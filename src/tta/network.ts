import { batchNormTrain, tf, variableGradients, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D, type Variable } from '@graft/kernels';
import { ActiveGraft } from '../adapters/active.js';
import type { Method } from '../adapters/method.js';
import { Forward, type WeightSource } from '../models/forward.js';
import type { Head, Model } from '../models/model.js';
import type { Site } from '../models/site.js';

/** How batch normalisation takes its statistics: `source`, the stored ones; `batch`, those of the batch at hand (biased variance). */
export type Statistics = 'source' | 'batch';

const isBatchNorm = (site: Site): boolean => site.kind === 'norm' && site.norm!.type === 'batch';

/** The source model θ₀: frozen, with the grafts it was deployed with. */
export class Source {
  constructor(readonly model: Model, readonly weights: WeightSource, readonly grafts: readonly ActiveGraft[], readonly head: Head) {}

  /** A copy of the network whose tensors named in `names` are its own variables, started from θ₀. */
  copy(names: readonly string[], statistics: Statistics): Network {
    const own = new Map(names.map((n) => [n, ownVariable(this.value(n))]));
    return new Network(this, own, statistics);
  }

  /** The tensor θ₀ has under a checkpoint name. */
  value(name: string): Tensor {
    return new Forward(this.model.sites, this.weights, this.grafts).weight(name);
  }

  /** Names of γ and β of every normalisation. */
  affine(): string[] {
    return this.model.sites.filter((s) => s.kind === 'norm').flatMap((s) => [s.weight, s.bias]).filter((n) => n !== undefined);
  }

  /** Names of the running statistics of batch normalisation. */
  buffers(): string[] {
    return this.model.sites.filter(isBatchNorm).flatMap((s) => [`${s.name}.running_mean`, `${s.name}.running_var`]);
  }

  /** Names of every weight and bias in use, heads included. */
  parameters(): string[] {
    const names = this.model.sites.flatMap((s) => [s.weight, s.bias]).filter((n): n is string => n !== undefined);
    const present = new Forward(this.model.sites, this.weights, this.grafts);
    return [...new Set(names)].filter((n) => present.has(n));
  }
}

/** A trained variable with values of its own: optimisers write in place, and the checkpoint's are mapped. */
const ownVariable = (t: Tensor): Variable => tf.tidy(() => tf.variable(ownValues(t), true));

/** A copy of the values; tf.clone would share them. */
export const ownValues = (t: Tensor): Tensor => tf.tensor(t.dataSync().slice(), t.shape);

/** One copy of the network in use. */
export class Network {
  private readonly graft: ActiveGraft;

  constructor(private readonly source: Source, readonly own: ReadonlyMap<string, Variable>, statistics: Statistics) {
    this.graft = new ActiveGraft(statistics === 'batch' ? BATCH_STATISTICS : STORED_STATISTICS, {}, source.model, null, new Map(own), new Map());
  }

  /** Logits [B, C] of pixels [B, H, W, 3] in evaluation mode (no dropout). */
  logits(pixels: Tensor4D): Tensor2D {
    const { model, weights, grafts, head } = this.source;
    const forward = new Forward(model.sites, weights, [...grafts, this.graft]);
    return model.logits(forward, model.backbone(forward, { kind: 'image', pixels }), head) as Tensor2D;
  }

  /** The loss's gradient with respect to the network's own tensors, by name, and what `loss` returned beside it. */
  gradients<T extends Tensor>(loss: () => { loss: Tensor; kept: T }): { grads: Map<string, Tensor>; kept: T } {
    let kept!: T;
    const { value, grads } = variableGradients(() => {
      const result = loss();
      kept = tf.keep(result.kept);
      return result.loss as tf.Scalar;
    }, [...this.own.values()]);
    value.dispose();
    const byName = new Map([...this.own].flatMap(([name, v]): [string, Tensor][] => (grads.has(v) ? [[name, grads.get(v)!]] : [])));
    return { grads: byName, kept };
  }

  dispose(): void {
    this.graft.dispose();
  }
}

const NOTHING = { summary: '', paper: null, options: {}, params: () => [] } satisfies Partial<Method>;

/** Normalises with the statistics of the batch; running buffers are neither read nor updated. */
const BATCH_STATISTICS: Method = {
  ...NOTHING,
  name: 'batch-statistics',
  sites: (model) => model.sites.filter(isBatchNorm),
  change: ({ site, x, pass }) => {
    const gamma = pass.weight(site.weight!) as Tensor1D, beta = pass.weight(site.bias!) as Tensor1D;
    return batchNormTrain(x as Tensor4D, gamma, beta, site.norm!.epsilon).y;
  },
};

const STORED_STATISTICS: Method = { ...NOTHING, name: 'stored-statistics', sites: () => [] };
