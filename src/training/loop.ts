import { scoped, sumOfSquares, tf, untracked, variableGradients, type Ranks, type Scalar, type Tensor, type Tensor1D, type Variable } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import { asMatrix } from '../adapters/low-rank.js';
import type { StepCall } from '../adapters/method.js';
import { disposeBatch } from '../data/encode.js';
import { routeOf } from '../data/route.js';
import { GraftError } from '../errors.js';
import { unsoundWeight } from '../finite.js';
import type { Forward } from '../models/forward.js';
import type { Batch } from '../models/model.js';
import type { Pass, Site } from '../models/site.js';
import type { Example, Objective, Preparation } from '../objectives/objective.js';
import { sumOfLosses } from '../objectives/scored.js';
import { batchCount, epochBatches, stepPosition, type BatchOptions } from './batches.js';
import type { LogEvent } from './log.js';
import { fit, type Optimiser, type TrainedParam } from './optimiser.js';
import { RecordedGradients, type Found, type Given } from './recorded.js';
import { shareOf } from './ranks.js';

export interface LoopOptions extends BatchOptions {
  totalSteps: number;
  accumulate: number;
  /** Largest global norm of the gradient; 0: no clipping. */
  clip: number;
  /** The checkpoint's own dropout acts. */
  modelDropout?: boolean;
  /** Gradient checkpointing: blocks are computed again in the backward pass. */
  recompute?: boolean;
  /** On a GPU, gradients of batches of one shape are recorded as CUDA graphs. */
  record?: boolean;
  /** The processes that share every batch. */
  ranks?: Pick<Ranks, 'rank' | 'size' | 'sum' | 'sumTensor'>;
  /** Weight decay reaches biases and norms too (tensors of rank 0 and 1), which are exempt otherwise. */
  decayAll?: boolean;
  /** Learning rate of a step, 0 at the first; for tensors added later, on a schedule that begins at `since`. */
  rate(step: number, since?: number): number;
}

/** What one optimiser step did. */
export interface StepResult { step: number; epoch: number; loss: number; lr: number; gradNorm: number }

/** PyTorch's clip_grad_norm_ adds it to the norm. */
const CLIP_EPSILON = 1e-6;

/** From the seed of one rank to that of the next: a prime, so that runs of nearby seeds share none. */
const RANK_SEEDS = 7919;

/** Trains one graft of a runtime on prepared examples, an optimiser step at a time. */
export class Loop {
  private readonly perEpoch: number;
  private readonly lengths: number[];
  private epoch: { index: number; batches: number[][] } | null = null;
  private readonly recorded: RecordedGradients | null;

  constructor(private readonly objective: Objective, private readonly examples: readonly Example[], private readonly p: Preparation, private readonly graft: ActiveGraft,
    private readonly optimiser: Optimiser, private readonly o: LoopOptions, private readonly log: (event: LogEvent) => void) {
    this.lengths = examples.map((e) => e.length);
    this.perEpoch = batchCount(examples.length, o);
    this.recorded = o.record && RecordedGradients.suits(objective, graft) ? new RecordedGradients() : null;
  }

  /** Frees what it recorded. @param step the last */
  end(step: number): void {
    if (!this.recorded) return;
    this.log({ event: 'graphs', step, ...this.recorded.counts });
    this.recorded.dispose();
  }

  /** Optimiser steps in one pass over the examples. */
  static stepsPerEpoch = (n: number, o: Pick<LoopOptions, 'batchSize' | 'dropLast' | 'accumulate'>): number => Math.ceil(batchCount(n, o) / o.accumulate);

  /** Runs step `step` (0 at the first). @throws GraftError (1) where loss or gradient are not finite */
  step(step: number): StepResult {
    const { epoch, from, to } = stepPosition(step, this.perEpoch, this.o.accumulate);
    const micro = this.batches(epoch).slice(from, to).map((rows) => {
      const own = this.o.ranks ? shareOf(rows, this.o.ranks) : { rows, counts: true }, examples = own.rows.map((i) => this.examples[i]);
      const batch = this.objective.batch(examples, epoch, this.p);
      return { ...batch, route: routeOf(examples), counts: own.counts, count: own.counts ? batch.targets.count : 0 };
    });
    const { grads, weightGrads, loss: lossTensor } = this.together(this.gradients(micro, step));
    micro.forEach((b) => disposeBatch(b.inputs as never));
    const hook = (which: 'afterBackward' | 'afterStep', gradScale: number): void => this.hook(which, { grads, weightGrads, gradScale }, step);
    hook('afterBackward', 1);
    const { loss, gradNorm } = readBack(lossTensor, grads);
    for (const [what, value] of Object.entries({ loss, 'norm of the gradient': gradNorm })) {
      if (!Number.isFinite(value)) throw unsoundWeight(this.p.runtime, { grafts: step === 0 }) ?? new GraftError(`step ${step + 1}: the ${what} is ${value}; a lower --lr, a longer --warmup or a smaller --clip may help`);
    }
    const scale = this.o.clip > 0 ? Math.min(1, this.o.clip / (gradNorm + CLIP_EPSILON)) : 1;
    const lr = this.o.rate(step);
    this.optimiser.step(this.params(step), grads, lr, scale);
    hook('afterStep', scale);
    tf.dispose([...grads.values(), ...weightGrads.values()]);
    return { step: step + 1, epoch, loss, lr, gradNorm };
  }

  private batches(epoch: number): number[][] {
    if (this.epoch?.index !== epoch) this.epoch = { index: epoch, batches: epochBatches(this.lengths, epoch, this.o) };
    return this.epoch.batches;
  }

  /** Loss and gradient of (Σ terms)/(number of terms) over all micro-batches, plus the methods' penalties. */
  private gradients(micro: (ReturnType<Objective['batch']> & { route: Pass['route']; count: number; counts: boolean })[], step: number): Gradients & { loss: Scalar } {
    const own = micro.reduce((n, b) => n + b.count, 0), { ranks } = this.o, terms = (ranks ? ranks.sum(Float64Array.of(own))[0] : own) || 1;
    const trained = this.trained();
    const sum = new Map<string, Tensor>(), weightGrads = new Map<string, Tensor>();
    const seed = this.o.seed + RANK_SEEDS * (ranks?.rank ?? 0); // other rows, other noise
    let total: Scalar | undefined;
    micro.forEach(({ inputs, targets, route, count, counts }, m) => {
      const weights = new Map<Site, Variable>(), wanted = [...trained.values()];
      // A variable over the weight's memory: for what is frozen itself, operations keep nothing that its gradient needs.
      const exchange = (site: Site, W: Tensor): Tensor => {
        if (!this.graft.actsAt(site)) return W;
        if (!weights.has(site)) wanted.push(weights.set(site, tf.variable(W, false)).get(site)!);
        return weights.get(site)!;
      };
      const ofBatch = ({ inputs, targets }: Given): Found => variableGradients(() => {
        const { runtime, options } = this.p, { weightGradients, auxiliary } = this.graft.method;
        const pass = runtime.forward({
          train: true, seed, step: step * this.o.accumulate + m, modelDropout: this.o.modelDropout, recompute: this.o.recompute, route,
          taps: auxiliary !== undefined, ...(weightGradients && { exchange }), losses: this.objective.losses?.(targets, options),
        });
        const logits = runtime.logitsOf(pass, inputs, targets.positions);
        const mean = tf.div(pass.scored ? sumOfLosses(pass.scored, targets) : this.objective.loss(logits, targets, options), terms) as Scalar;
        const own = counts ? mean : tf.mul(mean, 0) as Scalar, extra = this.auxiliary(pass, inputs);
        const loss = extra ? tf.add(own, tf.mul(extra, count / terms)) as Scalar : own;
        return m === 0 && !this.o.ranks?.rank ? this.withPenalties(loss) : loss;
      }, wanted);
      const given = { inputs, targets, route };
      const { value, grads } = this.recorded ? this.recorded.run(given, [terms, m === 0, counts], wanted, ofBatch) : ofBatch(given);
      total = plus(total, value);
      for (const [name, v] of trained) {
        const grad = grads.get(v); // absent where nothing in this batch depends on it
        if (grad) sum.set(name, plus(sum.get(name), grad));
      }
      for (const [site, W] of weights) {
        const grad = grads.get(W);
        if (grad) weightGrads.set(site.name, plus(weightGrads.get(site.name), matrixOf(site, grad)));
        W.dispose();
      }
    });
    return { grads: sum, weightGrads, loss: total! };
  }

  /** Over all ranks, in one transfer: gradients, whether a tensor has any, and the loss. */
  private together(own: Gradients & { loss: Scalar }): Gradients & { loss: Scalar } {
    const { ranks } = this.o;
    if (!ranks) return own;
    const trained = [...this.trained()], sites = [...own.weightGrads];
    const flat = scoped(() => {
      const parts = [...trained.map(([name, v]) => own.grads.get(name) ?? tf.zeros(v.shape)), ...sites.map(([, g]) => g), tf.tensor1d(trained.map(([name]) => (own.grads.has(name) ? 1 : 0))), own.loss];
      return tf.keep(tf.concat(parts.map((t) => tf.reshape(t, [-1]))));
    });
    tf.dispose([...own.grads.values(), ...own.weightGrads.values(), own.loss]);
    const summed = ranks.sumTensor(flat as Tensor1D);
    let at = 0;
    const next = (shape: number[]): Tensor => {
      const size = shape.reduce((a, b) => a * b, 1);
      at += size;
      return scoped(() => tf.keep(tf.reshape(tf.slice(summed, [at - size], [size]), shape)));
    };
    const grads = new Map(trained.map(([name, v]): [string, Tensor] => [name, next(v.shape)])), weightGrads = new Map(sites.map(([name, g]): [string, Tensor] => [name, next(g.shape)]));
    const there = next([trained.length]), loss = next([]) as Scalar;
    there.dataSync().forEach((n, i) => {
      const [name] = trained[i];
      if (n > 0) return;
      grads.get(name)!.dispose();
      grads.delete(name);
    });
    tf.dispose([summed, there]);
    return { grads, weightGrads, loss };
  }

  /** What the trained graft's method adds for a batch. */
  private auxiliary(pass: Forward, inputs: Batch): Tensor | null {
    const { method, config, sites } = this.graft;
    const teacher = (): Forward => untracked(() => {
      const { runtime } = this.p;
      const frozen = runtime.forward({ route: pass.route, taps: true }, runtime.grafts.filter((g) => g !== this.graft));
      runtime.model.backbone(frozen, inputs);
      return frozen;
    });
    return method.auxiliary?.({ pass, teacher, mask: inputs.kind === 'text' ? inputs.mask : null, sites }, config) ?? null;
  }

  private withPenalties(loss: Scalar): Scalar {
    const penalties = this.p.runtime.grafts.map((g) => g.method.penalty?.(g.tensors, g.config)).filter((t) => t !== null && t !== undefined);
    return penalties.reduce<Scalar>((a, b) => tf.add(a, b), loss);
  }

  /** In the order of their names, so that sums over them do not depend on when a tensor came. */
  private trained(): Map<string, Variable> {
    return new Map([...this.graft.trained].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  private params(step: number): Map<string, TrainedParam> {
    return new Map([...this.trained()].map(([name, variable]): [string, TrainedParam] => {
      const spec = this.graft.specs.get(name);
      return [name, { variable, decay: spec?.decay ?? (variable.rank > 1 || this.o.decayAll === true), lrScale: spec?.lrScale ?? 1, lr: spec?.since ? this.o.rate(step, spec.since) : undefined }];
    }));
  }

  /** Calls the method's hook. Tensors it makes and neither stores nor puts into `grads` are freed. */
  private hook(which: 'afterBackward' | 'afterStep', given: Gradients & { gradScale: number }, step: number): void {
    const { grads } = given;
    const before = [...grads.values()];
    scoped(() => {
      const { method, config } = this.graft;
      method[which]?.(this.stepCall(given, step), config);
      grads.forEach((g) => tf.keep(g));
    });
    const after = new Set(grads.values());
    before.filter((g) => !after.has(g)).forEach((g) => g.dispose());
  }

  private stepCall(given: Gradients & { gradScale: number }, step: number): StepCall {
    const { graft } = this;
    const trained = graft.trained;
    return {
      step: step + 1, totalSteps: this.o.totalSteps, params: trained, seed: this.o.seed, ...given,
      buffers: new Map([...graft.tensors].filter(([name]) => !trained.has(name))),
      setParam: (name, value, options) => this.setParam(name, value, options, given.grads),
      setBuffer: (name, value) => {
        const old = graft.tensors.get(name);
        if (value) graft.tensors.set(name, tf.keep(tf.clone(value)));
        else graft.tensors.delete(name);
        old?.dispose();
        if (graft.specs.has(name)) graft.bind();
      },
      log: (event) => this.log({ event: 'method', step: step + 1, method: graft.method.name, ...event }),
    };
  }

  /** Adds, replaces or removes a trained tensor; gradient and optimiser state take its shape. */
  private setParam(name: string, value: Tensor | null, options: Parameters<StepCall['setParam']>[2], grads: Map<string, Tensor>): void {
    const { tensors, specs } = this.graft;
    const old = tensors.get(name);
    if (value && old instanceof tf.Variable && old.shape.join() === value.shape.join()) {
      old.assign(value);
    } else if (value) {
      tensors.set(name, tf.variable(value));
      this.optimiser.resize(name, value.shape);
      const grad = grads.get(name);
      if (grad) grads.set(name, fit(grad, value.shape));
      old?.dispose();
    } else {
      tensors.delete(name);
      this.optimiser.remove(name);
      grads.delete(name);
      old?.dispose();
    }
    if (value && options) specs.set(name, { init: { kind: 'zeros' }, ...specs.get(name), name, shape: value.shape, elastic: true, ...options });
    if (tensors.get(name) !== old) this.graft.bind();
  }
}

/** By name: of the loss for the trained tensors, and of its data term for the weights of sites. */
type Gradients = Pick<StepCall, 'grads' | 'weightGrads'>;

/** ∂L/∂ΔW from ∂L/∂W as stored, which is freed. */
function matrixOf(site: Site, stored: Tensor): Tensor {
  const matrix = asMatrix(site, stored);
  if (matrix !== stored) stored.dispose();
  return matrix;
}

/** Adds up, and frees the terms. */
function plus<T extends Tensor>(a: T | undefined, b: T): T {
  if (!a) return b;
  const sum = tf.add(a, b) as T;
  tf.dispose([a, b]);
  return sum;
}

/** Loss and global norm of the gradient, in one transfer. */
function readBack(loss: Scalar, grads: ReadonlyMap<string, Tensor>): { loss: number; gradNorm: number } {
  const [value, squared] = scoped(() => tf.stack([loss, sumOfSquares(grads.values())]).dataSync());
  loss.dispose();
  return { loss: value, gradNorm: Math.sqrt(squared) };
}
