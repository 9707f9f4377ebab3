import { createHash } from 'node:crypto';
import { toGraft } from '../adapters/instantiate.js';
import type { Arguments } from '../commands/command.js';
import { startCompute } from '../compute.js';
import { dataError, EXIT, GraftError, usageError } from '../errors.js';
import { canonical, readGraft, storeTensor, writeGraft, type Graft } from '../formats/graft.js';
import { writeOutput } from '../formats/output.js';
import { openTable, type Table } from '../formats/table.js';
import { Meter } from '../metrics/meter.js';
import { chooseMetrics } from '../metrics/registry.js';
import type { Example, Objective, Preparation } from '../objectives/objective.js';
import { loadObjective } from '../objectives/registry.js';
import { predictExamples } from '../predict.js';
import { prediction } from '../predictions.js';
import { openProgress } from '../progress.js';
import { openRuntime, type Runtime } from '../runtime.js';
import { splitValidation } from './batches.js';
import { loadCheckpoint, restoreGraft, saveCheckpoint, type Best, type Progressed } from './checkpoint.js';
import { EventLog } from './log.js';
import { Loop } from './loop.js';
import { Optimiser, type OptimiserOptions } from './optimiser.js';
import { schedule, type ScheduleKind } from './schedule.js';

/** `graft train`: a graft in, the same graft trained out. */
export async function runTrain(args: Arguments): Promise<void> {
  if (!args.model) throw usageError('--model is missing: the checkpoint the graft is for');
  if (!args.data) throw usageError('--data is missing: what to train on');
  const inputs: string[] = args.graft.length > 0 ? args.graft : ['-'];
  if (args.resume && !args.checkpoint) throw usageError('--resume needs --checkpoint: where the stopped run left its state');
  await startCompute(args);
  const grafts = await Promise.all(inputs.map(readGraft));
  const runtime = await openRuntime({ model: args.model, grafts, trainable: true });
  const trained = await new Run(args, runtime, grafts).finish();
  await writeOutput(args.output, (out) => writeGraft(out, { ...trained, history: [...trained.history, args.commandLine] }));
  runtime.dispose();
}

interface Prepared { examples: Example[]; p: Preparation }

/** One training run: the loop with what surrounds it. */
class Run {
  private objective!: Objective;
  private readonly log: EventLog;
  private stopped: NodeJS.Signals | null = null;

  constructor(private readonly args: Arguments, private readonly runtime: Runtime, private readonly grafts: readonly Graft[]) {
    this.log = new EventLog(args.log);
  }

  async finish(): Promise<Graft> {
    const { args, runtime } = this;
    const name = args.objective ?? runtime.head?.task;
    if (!name) throw usageError('the graft has no task head: name an --objective, or start from graft init-adapter --task');
    this.objective = await loadObjective(name);
    if (runtime.grafts.every((g) => g.trained.size === 0)) throw usageError('the graft has nothing to train');
    const { train, valid } = await this.prepare();
    const loopOptions = { batchSize: args.batchSize, seed: args.seed, shuffle: args.shuffle, groupByLength: args.groupByLength, accumulate: args.accumulate, clip: args.clip };
    const perEpoch = Loop.stepsPerEpoch(train.examples.length, loopOptions);
    const totalSteps: number = args.steps ?? Math.max(1, Math.round(args.epochs * perEpoch));
    const optimiser = new Optimiser(optimiserOptions(args));
    const rate = schedule({ kind: args.schedule as ScheduleKind, warmup: args.warmup, totalSteps, lr: args.lr, lrEnd: args.lrEnd, power: args.power });
    const loop = new Loop(this.objective, train.examples, train.p, optimiser, { ...loopOptions, totalSteps, rate }, (e) => this.log.write(e));
    const run = this.identity();
    const found = args.resume ? await loadCheckpoint(args.checkpoint, run, runtime.grafts, optimiser) : null;
    let state: Progressed = found?.progressed ?? { step: 0, best: null, stale: 0 };
    let best: Best | null = found?.best ?? null;
    if (state.step === 0) this.log.write({ event: 'start', step: 0, rows: train.examples.length, steps: totalSteps, objective: name });
    const progress = openProgress(args.quiet ? 'none' : args.progress, 'train', totalSteps, 'step', state.step);
    const release = this.watch();
    try {
      while (state.step < totalSteps) {
        const result = loop.step(state.step);
        state = { ...state, step: result.step };
        this.log.write({ event: 'step', ...result });
        progress.update(result.step, `loss ${result.loss.toFixed(4)}`);
        const evaluate = valid && (args.evalEvery ? result.step % args.evalEvery === 0 : result.step % perEpoch === 0 || result.step === totalSteps);
        if (evaluate) ({ state, best } = this.evaluate(valid, state, best));
        const enough = args.earlyStopping !== undefined && state.stale >= args.earlyStopping;
        if (args.checkpoint && (result.step % args.checkpointEvery === 0 || this.stopped || enough || result.step === totalSteps)) await saveCheckpoint(args.checkpoint, run, runtime.grafts, optimiser, best, state);
        if (enough) break;
        // Lets signals in: the kernels are synchronous.
        await new Promise(setImmediate);
        if (this.stopped) throw new GraftError(`stopped by ${this.stopped} after step ${state.step}${args.checkpoint ? '; --resume goes on from there' : ''}`, this.stopped === 'SIGINT' ? EXIT.interrupted : EXIT.terminated);
      }
    } finally {
      progress.end();
      release();
    }
    if (best) runtime.grafts.forEach((g, i) => restoreGraft(g, under(best!, i)));
    this.log.write({ event: 'end', step: state.step, ...(state.best ? { best: state.best.value, bestStep: state.best.step } : {}) });
    this.log.close();
    // With several grafts the last one is written: those before it are the ground it stands on.
    return toGraft(runtime.grafts.at(-1)!, this.grafts.at(-1)!);
  }

  private async prepare(): Promise<{ train: Prepared; valid: Prepared | null }> {
    const { args } = this;
    const all = await this.load(args.data);
    if (args.valid) return { train: all, valid: await this.load(args.valid) };
    if (!args.validShare) return { train: all, valid: null };
    const { train, valid } = splitValidation(all.examples.length, args.validShare, args.seed);
    const pick = (rows: number[]): Prepared => ({ p: all.p, examples: rows.map((i) => all.examples[i]) });
    return { train: pick(train), valid: pick(valid) };
  }

  private async load(path: string): Promise<Prepared> {
    const { args, runtime } = this;
    const table: Table = await openTable(path, { columns: args.columns });
    this.objective.require(table);
    const maxLength = args.maxLength ?? (runtime.model.input === 'text' ? runtime.tokenizer.maxLength : 0);
    const p: Preparation = { runtime, table, maxLength, options: args, seed: args.seed };
    const examples: Example[] = [];
    for await (const rows of table.rows(1024)) examples.push(...await this.objective.prepare(rows, examples.length, p));
    if (examples.length === 0) throw dataError(`${table.name}: has no rows`);
    return { examples, p };
  }

  /** Measures the validation rows, and keeps the values that did best. */
  private evaluate(valid: Prepared, state: Progressed, best: Best | null): { state: Progressed; best: Best | null } {
    const { name, larger } = this.metric();
    const meter = new Meter(chooseMetrics([name], this.objective.kind), { names: this.runtime.head?.labels ?? [] });
    for (let i = 0; i < valid.examples.length; i += this.args.batchSize) {
      for (const row of predictExamples(this.objective, valid.examples.slice(i, i + this.args.batchSize), valid.p)) meter.add(prediction(this.objective.kind, row, '', valid.p.table.name));
    }
    const value = meter.results()[0].value as number;
    this.log.write({ event: 'eval', step: state.step, metric: name, value });
    const better = state.best === null || (larger ? value > state.best.value : value < state.best.value);
    if (!better) return { state: { ...state, stale: state.stale + 1 }, best };
    return {
      state: { ...state, best: { value, step: state.step }, stale: 0 },
      best: new Map(this.runtime.grafts.flatMap((g, i) => [...g.tensors].map(([n, t]) => [`${i}.${n}`, storeTensor(t)]))),
    };
  }

  private metric(): { name: string; larger: boolean } {
    const name = this.args.metric as string | undefined;
    if (!name) return this.objective.metric;
    return { name, larger: !['error', 'nll', 'brier', 'ece', 'perplexity', 'token-nll', 'bits-per-byte'].includes(name) };
  }

  /** What must be equal for a run to be the same run: its inputs' contents and every option that changes the result. */
  private identity(): string {
    const { _, commandLine, graft, checkpoint, checkpointEvery, resume, log, progress, quiet, output, threads, backend, ...rest } = this.args;
    const described = this.grafts.map(({ tensors, ...g }) => ({ ...g, tensors: [...tensors].map(([n, t]) => [n, createHash('sha256').update(t.data).digest('hex')]) }));
    return createHash('sha256').update(canonical({ rest, described, base: this.runtime.checkpoint.fingerprint() })).digest('hex');
  }

  /** SIGINT and SIGTERM end the run after the step at hand. */
  private watch(): () => void {
    const stop = (signal: NodeJS.Signals): void => { this.stopped = signal; };
    for (const s of ['SIGINT', 'SIGTERM'] as const) process.on(s, stop);
    return () => { for (const s of ['SIGINT', 'SIGTERM'] as const) process.off(s, stop); };
  }
}

const under = (best: Best, graft: number): Best => new Map([...best].filter(([n]) => n.startsWith(`${graft}.`)).map(([n, t]) => [n.slice(`${graft}.`.length), t]));

const optimiserOptions = (args: Arguments): OptimiserOptions => ({
  kind: args.optimizer, weightDecay: args.weightDecay, beta1: args.beta1, beta2: args.beta2, epsilon: args.epsilon, momentum: args.momentum, nesterov: args.nesterov,
});
