import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { serialize } from 'node:v8';
import type { ActiveGraft } from '../adapters/active.js';
import { toGraft } from '../adapters/instantiate.js';
import { offloadWeights, type Ranks } from '@graft/kernels';
import type { Arguments } from '../commands/command.js';
import { startCompute } from '../compute.js';
import { prepareRows } from '../data/route.js';
import { dataError, GraftError, usageError } from '../errors.js';
import { canonical, readGraft, writeGraft, type Graft } from '../formats/graft.js';
import { writeOutput } from '../formats/output.js';
import { openTable } from '../formats/table.js';
import type { Objective, Preparation } from '../objectives/objective.js';
import { loadObjective } from '../objectives/registry.js';
import { openProgress, setProgress } from '../progress.js';
import { openRuntime, type Runtime } from '../runtime.js';
import { ENDING, endingSignals, type EndingSignal } from '../signals.js';
import { splitValidation } from './batches.js';
import { loadCheckpoint, lockCheckpoint, restore, saveCheckpoint, snapshot, type Progressed, type Stored } from './checkpoint.js';
import { EventLog, type LogEvent } from './log.js';
import { Loop } from './loop.js';
import { Optimiser, type OptimiserOptions } from './optimiser.js';
import { inRank, openRanks, placeOf, type Place } from './ranks.js';
import { schedule, type ScheduleKind } from './schedule.js';
import { Validation, type Prepared } from './validation.js';

export type { Prepared };

/** `graft train`: a graft in, the same graft trained out. */
export async function runTrain(args: Arguments): Promise<void> {
  if (!args.model) throw usageError('--model is missing: the checkpoint the graft is for');
  if (!args.data) throw usageError('--data is missing: what to train on');
  if (args.resume && !args.checkpoint) throw usageError('--resume needs --checkpoint: where the stopped run left its state');
  if (args.earlyStopping && !args.valid && !args.validShare) throw usageError('--early-stopping needs validation data: --valid FILE or --valid-share SHARE');
  const inputs: string[] = args.graft.length > 0 ? args.graft : ['-'];
  if (args.data === '-' && inputs.includes('-')) throw usageError('graft and data cannot both come from standard input: name one of them');
  if (args.dryRun) return (await import('./plan.js')).dryRun({ args, grafts: await Promise.all(inputs.map(readGraft)), arrange: (runtime) => arrange(args, runtime) });
  const place = placeOf();
  if (place) return inRanks(place, args, inputs);
  await startCompute(args);
  await runAlone(args, inputs);
}

/** One of several processes: rank 0 writes, and says what there is to say. */
async function inRanks(place: Place, given: Arguments, inputs: readonly string[]): Promise<void> {
  if (inputs.includes('-') || given.data === '-') throw usageError(`${place.size} processes cannot share standard input: name --graft and --data files`);
  if (given.batchSize < place.size) throw usageError(`--batch-size ${given.batchSize} for ${place.size} processes: each needs a row of its own`);
  const threads = given.threads ?? Math.max(1, Math.floor(availableParallelism() / place.locals));
  const args: Arguments = { ...given, threads, ...(place.rank > 0 && { log: undefined, quiet: true }) };
  if (place.rank > 0) setProgress('none');
  await startCompute(args, place.local);
  const ranks = openRanks(place, given, args.quiet ? undefined : (line) => { process.stderr.write(`graft: ${line}\n`); });
  try {
    await runAlone(args, inputs, ranks);
  } catch (error) {
    throw place.rank > 0 && error instanceof GraftError && /^rank \d+ ended/.test(error.message) ? new GraftError(/^rank 0 /.test(error.message) && place.rank === 1 ? error.message : '') : error;
  } finally {
    ranks.close();
  }
}

async function runAlone(args: Arguments, inputs: readonly string[], ranks: Ranks | null = null): Promise<void> {
  refuseTogether(args);
  const grafts = await Promise.all(inputs.map(readGraft));
  const runtime = await openRuntime({ model: args.model, grafts, trainable: true });
  if (args.offload) await offload(runtime);
  // The grafts before the last are the ground it stands on.
  for (const graft of runtime.grafts.slice(0, -1)) for (const v of graft.trained.values()) v.trainable = false;
  const free = args.checkpoint && writes(ranks) ? await lockCheckpoint(args.checkpoint, args.wait) : null;
  const trained = await train(args, runtime, grafts.at(-1)!, ranks);
  if (writes(ranks)) await writeOutput(args.output, (out) => writeGraft(out, { ...trained, history: [...trained.history, args.commandLine] }));
  free?.();
  runtime.dispose();
}

/** Of the frozen weights a GPU holds two blocks at a time: the one at work and the next. @throws GraftError (64) on another backend */
export async function offload({ model, checkpoint }: Runtime): Promise<void> {
  const bytes = new Map<number, number>();
  for (const { layer, weight } of model.sites) if (weight && checkpoint.has(weight)) bytes.set(layer, (bytes.get(layer) ?? 0) + checkpoint.info(weight).length);
  const blocks = [...bytes].filter(([layer]) => layer >= 0 && layer < model.layers).map(([, n]) => n);
  try {
    await offloadWeights(2 * Math.max(1, ...blocks));
  } catch (error) {
    throw usageError(`--offload: ${(error as Error).message}`);
  }
}

/** @throws GraftError (64) for options that do not go together */
function refuseTogether({ offload, cudaGraphs, precision }: Arguments): void {
  if (cudaGraphs && offload) throw usageError('--cuda-graphs and --offload exclude each other: a recording needs its weights where they are');
  if (offload && (precision === 'int8' || precision === 'nf4')) throw usageError(`--offload is for weights as they are stored: leave out --precision ${precision}`);
}

/** Of several processes the first alone writes files. */
const writes = (ranks: Ranks | null): boolean => !ranks || ranks.rank === 0;

async function train(args: Arguments, runtime: Runtime, given: Graft, ranks: Ranks | null): Promise<Graft> {
  const { objective, examples, held } = await arrange(args, runtime);
  return new Run(args, runtime.grafts.at(-1)!, given, objective, examples, held, ranks).finish();
}

/** What is trained on what. */
async function arrange(args: Arguments, runtime: Runtime): Promise<{ objective: Objective; examples: Prepared; held: Prepared | null }> {
  const graft = runtime.grafts.at(-1)!;
  const name: string | undefined = args.objective ?? runtime.head?.task;
  if (!name) throw usageError('the graft has no task head: name an --objective, or start from graft init-adapter --task');
  const objective = await loadObjective(name);
  if (runtime.head?.task !== objective.task) throw usageError(`objective ${name} trains a head for ${objective.task}; the graft's is for ${runtime.head?.task ?? 'none'} (graft init-adapter --task ${objective.task})`);
  restrict(graft, args.only);
  if (graft.trained.size === 0) throw usageError(`the graft has nothing to train: method ${graft.method.name} left no tensors`);
  return { objective, ...await prepare(args, runtime, objective) };
}

/** Leaves only tensors whose names contain one of these in training. @throws GraftError (usage) where one names none */
function restrict(graft: ActiveGraft, only: readonly string[]): void {
  const trained = graft.trained;
  const idle = only.find((part) => ![...trained.keys()].some((name) => name.includes(part)));
  if (idle !== undefined) throw usageError(`--only ${idle}: no trained tensor of the graft has that in its name`);
  if (only.length > 0) for (const [name, v] of trained) v.trainable = only.some((part) => name.includes(part));
}

/** Training rows and, where asked for, validation rows. */
async function prepare(args: Arguments, runtime: Runtime, objective: Objective): Promise<{ examples: Prepared; held: Prepared | null }> {
  const all = await load(args.data, args, runtime, objective);
  const trainable = (from: Prepared): Prepared => {
    const examples = objective.arrange?.(from.examples, from.p) ?? from.examples;
    if (examples.length === 0) throw dataError(`${from.p.table.name}: has no rows to train on`);
    return { p: from.p, examples };
  };
  if (args.valid) return { examples: trainable(all), held: await load(args.valid, args, runtime, objective) };
  if (!args.validShare) return { examples: trainable(all), held: null };
  if (all.examples.length < 2) throw dataError(`${all.p.table.name}: has too few rows to split some off for validation`);
  const { train, valid } = splitValidation(all.examples.length, args.validShare, args.seed);
  const pick = (rows: number[]): Prepared => ({ p: all.p, examples: rows.map((i) => all.examples[i]) });
  return { examples: trainable(pick(train)), held: pick(valid) };
}

/** Every row of a table, made ready once. */
async function load(path: string, args: Arguments, runtime: Runtime, objective: Objective): Promise<Prepared> {
  const table = await openTable(path, { columns: args.columns });
  const longest = runtime.model.input === 'text' ? runtime.tokenizer.maxLength : 0;
  const p: Preparation = { runtime, table, maxLength: Math.min(args.maxLength ?? longest, longest), options: args, seed: args.seed };
  objective.require(table, args);
  const examples: Prepared['examples'] = [];
  for await (const rows of table.rows(1024)) examples.push(...await prepareRows(objective, rows, examples.length, p));
  if (examples.length === 0) throw dataError(`${table.name}: has no rows`);
  return { examples, p };
}

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

/** One training run: the loop with what surrounds it. */
class Run {
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
