import type { Ranks } from '@graft/kernels';
import { createHash } from 'node:crypto';
import { serialize } from 'node:v8';
import type { ActiveGraft } from '../adapters/active.js';
import { toGraft } from '../adapters/instantiate.js';
import type { Arguments } from '../commands/command.js';
import { GraftError } from '../errors.js';
import { canonical, type Graft } from '../formats/graft.js';
import type { Objective } from '../objectives/objective.js';
import { openProgress } from '../progress.js';
import { ENDING, endingSignals, type EndingSignal } from '../signals.js';
import { loadCheckpoint, restore, saveCheckpoint, snapshot, type Progressed, type Stored } from './checkpoint.js';
import { EventLog, type LogEvent } from './log.js';
import { Loop } from './loop.js';
import { Optimiser, type OptimiserOptions } from './optimiser.js';
import { inRank, writes } from './ranks.js';
import { schedule, type ScheduleKind } from './schedule.js';
import { Validation, type Prepared } from './validation.js';

/** The loop of a run as the command line sets it up, and what it counts on. */
export function setLoop(args: Arguments, graft: ActiveGraft, objective: Objective, { examples, p }: Prepared, log: (event: LogEvent) => void, ranks?: Ranks) {
  const { batchSize, seed, shuffle, groupByLength, dropLast, accumulate, clip, decayAll } = args;
  const o = { batchSize, seed, shuffle, groupByLength, dropLast, accumulate, clip, decayAll }, perEpoch = Loop.stepsPerEpoch(examples.length, o);
  const totalSteps: number = args.steps ?? Math.ceil(args.epochs * perEpoch - 1e-9);
  const rate = schedule({ kind: args.schedule as ScheduleKind, warmup: args.warmup, totalSteps, lr: args.lr, lrEnd: args.lrEnd, power: args.power });
  const optimiser = new Optimiser(optimiserOptions(args));
  const loop = new Loop(objective, examples, p, graft, optimiser, { ...o, totalSteps, rate, modelDropout: args.backboneDropout === 'checkpoint', recompute: args.gradientCheckpointing, record: args.cudaGraphs, ranks }, log);
  return { loop, optimiser, perEpoch, totalSteps, batches: { ...o, epochs: totalSteps / perEpoch } };
}

/** One training run: the loop with what surrounds it, validation, checkpoints, the log and signals. */
export class Run {
  private readonly optimiser: Optimiser;
  private readonly loop: Loop;
  private readonly validation: Validation | null;
  private readonly perEpoch: number;
  private readonly totalSteps: number;
  private readonly id: string;
  private log!: EventLog;
  private state: Stored = { progressed: { step: 0, best: null, stale: 0 }, best: null };
  private signal: EndingSignal | null = null;

  constructor(private readonly args: Arguments, private readonly graft: ActiveGraft, private readonly given: Graft, objective: Objective, private readonly data: Prepared, private readonly held: Prepared | null, private readonly ranks: Ranks | null) {
    ({ loop: this.loop, optimiser: this.optimiser, perEpoch: this.perEpoch, totalSteps: this.totalSteps } = setLoop(args, graft, objective, data, (e) => this.log.write(e), ranks ?? undefined));
    this.validation = held && new Validation(objective, held, args.batchSize, args.metric);
    this.id = identity(args, given, data, held);
  }

  private get progressed(): Progressed {
    return this.state.progressed;
  }

  /**
   * Runs the steps that are left, and gives the graft with its best values.
   * @throws GraftError (1) where loss or gradient are not finite, (129, 130, 143) where a signal ended it
   */
  async finish(): Promise<Graft> {
    const { args, graft } = this;
    const found = args.resume ? await loadCheckpoint(args.checkpoint, this.id, graft, this.optimiser) : null;
    if (found) this.state = found;
    this.log = await EventLog.open(args.log, found?.progressed.step);
    if (!found) {
      const parameters = [...graft.trained.values()].reduce((n, v) => n + v.size, 0);
      this.log.write({ event: 'start', steps: this.totalSteps, stepsPerEpoch: this.perEpoch, examples: this.data.examples.length, validation: this.held?.examples.length ?? null, trained: graft.trained.size, parameters });
    }
    await this.steps();
    const { progressed, best } = this.state;
    if (best) restore(graft, best);
    this.log.write({ event: 'end', step: progressed.step, best: progressed.best, stopped: progressed.step < this.totalSteps ? 'early' : null });
    this.log.close();
    this.optimiser.dispose();
    return toGraft(graft, this.given);
  }

  private async steps(): Promise<void> {
    const { args, totalSteps } = this;
    const progress = openProgress({ label: 'train', unit: 'step', total: totalSteps, start: this.progressed.step });
    const release = this.watch();
    try {
      while (this.progressed.step < totalSteps && !this.exhausted()) {
        const result = inRank(() => this.loop.step(this.progressed.step));
        this.state = { ...this.state, progressed: { ...this.progressed, step: result.step } };
        this.log.write({ event: 'step', ...result });
        progress.update(result.step, `loss ${result.loss.toFixed(4)}`);
        if (this.isDue(args.evalEvery ?? this.perEpoch)) this.validate();
        // Lets signals in: the kernels are synchronous.
        await new Promise(setImmediate);
        this.agree();
        if (args.checkpoint && (this.isDue(args.checkpointEvery) || this.signal || this.exhausted())) await this.save();
        if (this.signal) throw new GraftError(`stopped by ${this.signal} after step ${result.step}${args.checkpoint ? '; --resume goes on from there' : ''}`, ENDING[this.signal]);
      }
    } finally {
      this.loop.end(this.progressed.step);
      progress.end();
      release();
    }
  }

  /** Something that happens every `n` steps and at the end. */
  private isDue(n: number): boolean {
    return this.progressed.step % n === 0 || this.progressed.step === this.totalSteps;
  }

  private exhausted(): boolean {
    return this.args.earlyStopping !== undefined && this.progressed.stale >= this.args.earlyStopping;
  }

  /** Measures the validation rows, and keeps the values that did best. */
  private validate(): void {
    if (!this.validation) return;
    const { step, best, stale } = this.progressed;
    const value = this.ofFirst(() => this.validation!.measure());
    const better = this.validation.better(value, best?.value);
    this.log.write({ event: 'eval', step, metric: this.validation.metric, value, best: better });
    this.state = better
      ? { progressed: { step, best: { value, step }, stale: 0 }, best: snapshot(this.graft) }
      : { ...this.state, progressed: { step, best, stale: stale + 1 } };
  }

  /** What rank 0 measures, for all. */
  private ofFirst(measure: () => number): number {
    const { ranks } = this;
    return ranks ? inRank(() => ranks.total(ranks.rank === 0 ? measure() : 0)) : measure();
  }

  /** A signal that one of several processes was sent ends all of them after the same step. */
  private agree(): void {
    const { ranks } = this;
    if (!ranks) return;
    const counts = inRank(() => ranks.sum(Float64Array.from(endingSignals, (s) => (s === this.signal ? 1 : 0))));
    this.signal ??= endingSignals.find((_, i) => counts[i] > 0) ?? null;
  }

  private async save(): Promise<void> {
    if (!writes(this.ranks)) return;
    // Said first: a run killed in between resumes from before it and says it again.
    this.log.write({ event: 'checkpoint', step: this.progressed.step });
    await saveCheckpoint(this.args.checkpoint, this.id, this.graft, this.optimiser, this.state);
  }

  /** A signal ends the run after the step at hand. */
  private watch(): () => void {
    const stop = (signal: NodeJS.Signals): void => { this.signal = signal as EndingSignal; };
    for (const s of endingSignals) process.on(s, stop);
    return () => { for (const s of endingSignals) process.off(s, stop); };
  }
}

/** Options that do not change the result, and those whose files' contents count instead. */
const ELSEWHERE = ['_', 'commandLine', 'model', 'data', 'valid', 'graft', 'checkpoint', 'checkpointEvery', 'resume', 'wait', 'log', 'progress', 'quiet', 'output', 'deps', 'threads', 'backend', 'gradientCheckpointing', 'cudaGraphs', 'offload', 'dryRun', 'json'];

/** What must be equal for a run to be the same run: its inputs' contents and every option that changes the result. */
function identity(args: Arguments, graft: Graft, data: Prepared, held: Prepared | null): string {
  const options = Object.fromEntries(Object.entries(args).filter(([name]) => !ELSEWHERE.includes(name)));
  const hash = createHash('sha256').update(canonical({ options, model: data.p.runtime.checkpoint.fingerprint(), graft: { ...graft, tensors: null } }));
  for (const [name, t] of graft.tensors) hash.update(name).update(t.data);
  for (const { examples } of held ? [data, held] : [data]) for (const e of examples) hash.update(serialize(e));
  return hash.digest('hex');
}

const optimiserOptions = (args: Arguments): OptimiserOptions => ({
  kind: args.optimizer, weightDecay: args.weightDecay, beta1: args.beta1, beta2: args.beta2, epsilon: args.epsilon, momentum: args.momentum, nesterov: args.nesterov,
});
