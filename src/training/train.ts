import { offloadWeights, type Ranks } from '@graft/kernels';
import { availableParallelism } from 'node:os';
import type { ActiveGraft } from '../adapters/active.js';
import type { Arguments } from '../commands/command.js';
import { startCompute } from '../compute.js';
import { prepareRows } from '../data/route.js';
import { dataError, GraftError, usageError } from '../errors.js';
import { readGraft, writeGraft, type Graft } from '../formats/graft.js';
import { writeOutput } from '../formats/output.js';
import { openTable } from '../formats/table.js';
import type { Objective, Preparation } from '../objectives/objective.js';
import { loadObjective } from '../objectives/registry.js';
import { setProgress } from '../progress.js';
import { openRuntime, type Runtime } from '../runtime.js';
import { splitValidation } from './batches.js';
import { lockCheckpoint } from './checkpoint.js';
import { openRanks, placeOf, writes, type Place } from './ranks.js';
import { Run } from './run.js';
import type { Prepared } from './validation.js';

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
