import { scoped, tf, type Tensor, type Variable } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import type { StepCall } from '../adapters/method.js';
import { disposeBatch } from '../data/encode.js';
import { GraftError } from '../errors.js';
import type { Example, Objective, Preparation } from '../objectives/objective.js';
import { batchCount, epochBatches, stepPosition, type BatchOptions } from './batches.js';
import type { LogEvent } from './log.js';
import { Optimiser, type TrainedParam } from './optimiser.js';

export interface LoopOptions extends BatchOptions {
  totalSteps: number;
  accumulate: number;
  /** Largest global norm of the gradient; 0: no clipping. */
  clip: number;
  seed: number;
  /** Learning rate of a step, 0 at the first. */
  rate(step: number): number;
}

/** What one optimiser step did. */
export interface StepResult { step: number; loss: number; lr: number; gradNorm: number; epoch: number }

/** Trains the variables of a runtime's grafts on prepared examples, one optimiser step at a time. */
export class Loop {
  private readonly perEpoch: number;
  private readonly lengths: number[];
  private epoch: { index: number; batches: number[][] } | null = null;

  constructor(private readonly objective: Objective, private readonly examples: readonly Example[], private readonly p: Preparation, readonly optimiser: Optimiser,
    private readonly o: LoopOptions, private readonly log: (event: LogEvent) => void) {
    this.lengths = examples.map((e) => e.length);
    this.perEpoch = batchCount(examples.length, o);
  }

  /** Optimiser steps in one pass over the examples. */
  static stepsPerEpoch = (n: number, o: Pick<LoopOptions, 'batchSize' | 'dropLast' | 'accumulate'>): number => Math.ceil(batchCount(n, o) / o.accumulate);

  /** Runs step `step` (0 at the first). @throws GraftError (1) where the loss is not finite */
  step(step: number): StepResult {
    const { epoch, from, to } = stepPosition(step, this.perEpoch, this.o.accumulate);
    const micro = this.batches(epoch).slice(from, to).map((rows) => this.objective.batch(rows.map((i) => this.examples[i]), epoch, this.p));
    const terms = micro.reduce((n, b) => n + b.targets.count, 0);
    const { grads, loss } = this.gradients(micro, terms, step);
    micro.forEach((b) => disposeBatch(b.inputs as never));
    if (!Number.isFinite(loss)) throw new GraftError(`step ${step + 1}: the loss is ${loss}; a lower --lr, --clip 1 or --warmup may help`);
    this.hook('afterBackward', grads, step);
    const gradNorm = scoped(() => Math.sqrt([...grads.values()].map((g) => tf.sum(tf.square(g)).dataSync()[0]).reduce((a, b) => a + b, 0)));
    const scale = this.o.clip > 0 && gradNorm > this.o.clip ? this.o.clip / (gradNorm + 1e-6) : 1;
    const lr = this.o.rate(step);
    this.optimiser.step(this.params(), grads, lr, scale);
    this.hook('afterStep', grads, step);
    tf.dispose([...grads.values()]);
    return { step: step + 1, loss, lr, gradNorm, epoch };
  }

  private batches(epoch: number): number[][] {
    if (this.epoch?.index !== epoch) this.epoch = { index: epoch, batches: epochBatches(this.lengths, epoch, this.o) };
    return this.epoch.batches;
  }

  /** The gradient of (Σ terms' losses)/terms plus the methods' penalties, summed over micro-batches. */
  private gradients(micro: ReturnType<Objective['batch']>[], terms: number, step: number): { grads: Map<string, Tensor>; loss: number } {
    const trained = this.trained();
    const sum = new Map<string, Tensor>();
    let total = 0;
    micro.forEach(({ inputs, targets }, m) => {
      const { value, grads } = tf.variableGrads(() => tf.tidy(() => {
        const logits = this.p.runtime.logits(inputs, { train: true, seed: this.o.seed, step: step * this.o.accumulate + m });
        const loss = tf.div(this.objective.loss(logits, targets, this.p.options), terms) as tf.Scalar;
        return m === 0 ? this.withPenalties(loss) : loss;
      }), [...trained.values()]);
      total += value.dataSync()[0];
      value.dispose();
      for (const [name, v] of trained) {
        const grad = grads[v.name], before = sum.get(name);
        if (!grad) continue; // nothing in this batch depends on it
        sum.set(name, before ? tf.add(before, grad) : grad);
        if (before) tf.dispose([before, grad]);
      }
    });
    return { grads: sum, loss: total };
  }

  private withPenalties(loss: tf.Scalar): tf.Scalar {
    const penalties = this.grafts.map((g) => g.method.penalty?.(g.tensors, g.config)).filter((t) => t !== null && t !== undefined);
    return penalties.reduce<tf.Scalar>((a, b) => tf.add(a, b), loss);
  }

  private get grafts(): readonly ActiveGraft[] {
    return this.p.runtime.grafts;
  }

  private trained(): Map<string, Variable> {
    return new Map(this.grafts.flatMap((g) => [...g.trained]));
  }

  private params(): Map<string, TrainedParam> {
    return new Map(this.grafts.flatMap((g) => [...g.trained].map(([name, variable]): [string, TrainedParam] => {
      const spec = g.specs.get(name);
      return [name, { variable, decay: spec?.decay ?? true, lrScale: spec?.lrScale ?? 1 }];
    })));
  }

  private hook(which: 'afterBackward' | 'afterStep', grads: Map<string, Tensor>, step: number): void {
    for (const graft of this.grafts) graft.method[which]?.(this.stepCall(graft, grads, step), graft.config);
  }

  private stepCall(graft: ActiveGraft, grads: Map<string, Tensor>, step: number): StepCall {
    const tensors = graft.tensors;
    return {
      step: step + 1, totalSteps: this.o.totalSteps, params: graft.trained, grads,
      buffers: new Map([...tensors].filter(([name]) => !graft.trained.has(name))),
      setParam: (name, value) => {
        tensors.get(name)?.dispose();
        if (value) {
          tensors.set(name, tf.variable(value));
          this.optimiser.resize(name, value.shape);
        } else {
          tensors.delete(name);
          this.optimiser.remove(name);
        }
        graft.bind();
      },
      setBuffer: (name, value) => {
        tensors.get(name)?.dispose();
        if (value) tensors.set(name, tf.keep(tf.clone(value)));
        else tensors.delete(name);
        graft.bind();
      },
      log: (event) => this.log({ event: 'method', step: step + 1, ...event }),
    };
  }
}
