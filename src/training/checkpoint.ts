import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { tf } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import type { ParamSpec } from '../adapters/method.js';
import { dataError } from '../errors.js';
import { loadTensor, storeTensor, type StoredTensor } from '../formats/graft.js';
import { readInput } from '../formats/input.js';
import { isCount, isObject, parseObject } from '../formats/json.js';
import { lockFile } from '../formats/lock.js';
import { attempt, writeOutput } from '../formats/output.js';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import type { Optimiser } from './optimiser.js';

/** Everything beside tensors that a resumed run needs; the position in the data follows from the step. */
export interface Progressed {
  /** Optimiser steps done. */
  step: number;
  best: { value: number; step: number } | null;
  /** Evaluations since the best. */
  stale: number;
}

/** A graft's tensors at one moment, by stored name. */
export interface Snapshot {
  tensors: Map<string, StoredTensor>;
  /** What the trained ones among them are. */
  trained: Record<string, Pick<ParamSpec, 'decay' | 'lrScale' | 'since'>>;
}

export interface Stored { progressed: Progressed; best: Snapshot | null }

const FILE = 'training.safetensors';

/** Keeps other runs away from `directory`, which is made where it is missing. @returns what lets them in */
export function lockCheckpoint(directory: string, wait: number): Promise<() => void> {
  attempt(directory, () => mkdirSync(directory, { recursive: true }));
  return lockFile(join(directory, FILE), wait);
}

/**
 * Stores a run in `directory`, whole or not at all: the file of the last time stays until the new one is on disk.
 * @param run identifies options and data; another run does not resume from it
 */
export async function saveCheckpoint(directory: string, run: string, graft: ActiveGraft, optimiser: Optimiser, { progressed, best }: Stored): Promise<void> {
  const { steps, moments } = optimiser.save();
  const now = snapshot(graft);
  const tensors = [
    ...prefixed('graft.', now.tensors), ...prefixed('moment.', new Map([...moments].map(([n, t]) => [n, storeTensor(t)]))), ...prefixed('best.', best?.tensors ?? new Map()),
  ];
  const metadata = { run, progressed, steps, trained: now.trained, best: best?.trained ?? null };
  await writeOutput(join(directory, FILE), (out) => writeSafetensors(out, tensors.map(([name, { data, ...t }]) => ({ name, ...t, data: () => data })), { training: JSON.stringify(metadata) }));
}

/** Puts a stored run back; null where the directory holds none. @throws GraftError (65) where it is another run's */
export async function loadCheckpoint(directory: string, run: string, graft: ActiveGraft, optimiser: Optimiser): Promise<Stored | null> {
  const path = join(directory, FILE);
  if (!existsSync(path)) return null;
  const { metadata, tensors } = readSafetensors(await readInput(path), path);
  if (metadata.training === undefined) throw dataError(`${path}: is no checkpoint of graft train; remove it, or name another --checkpoint`);
  const stored = storedRun(metadata.training, path);
  if (stored.run !== run) throw dataError(`${path}: belongs to a run with other inputs or options; remove it, or resume with those`);
  const under = (prefix: string): Map<string, StoredTensor> => new Map([...tensors].filter(([n]) => n.startsWith(prefix)).map(([n, t]) => [n.slice(prefix.length), t]));
  const bad = (what: string): Error => dataError(`${path}: ${what}; remove it to start afresh`);
  const now = under('graft.');
  checkSnapshot(graft, now, bad);
  if (stored.best) checkSnapshot(graft, under('best.'), bad);
  for (const name of Object.keys(stored.steps)) if (!now.has(name)) throw bad(`knows nothing of '${name}', whose updates it counts`);
  restore(graft, { tensors: now, trained: stored.trained });
  optimiser.restore(stored.steps, (key) => {
    const moment = tensors.get(`moment.${key}`), { shape } = now.get(key.slice(0, key.lastIndexOf('#')))!;
    if (moment?.dtype !== 'F32' || moment.shape.join() !== shape.join()) throw bad(`lacks the moment '${key}', or has it in another shape`);
    return loadTensor(key, moment);
  });
  return { progressed: stored.progressed, best: stored.best && { tensors: under('best.'), trained: stored.best } };
}

interface StoredRun { run: string; progressed: Progressed; steps: Record<string, number>; trained: Snapshot['trained']; best: Snapshot['trained'] | null }

function storedRun(text: string, path: string): StoredRun {
  const run = parseObject(text, `${path}: __metadata__.training`);
  const { progressed, steps, trained, best } = run;
  const whole = isObject(progressed) && isCount(progressed.step) && isCount(progressed.stale) && (progressed.best === null || (isObject(progressed.best) && typeof progressed.best.value === 'number' && isCount(progressed.best.step)))
    && isObject(steps) && Object.values(steps).every(isCount) && isGroups(trained) && (best === null || isGroups(best));
  if (!whole) throw dataError(`${path}: __metadata__.training is not that of a run; remove the file to start afresh`);
  return run as unknown as StoredRun;
}

const isGroups = (value: unknown): value is Snapshot['trained'] => isObject(value) && Object.values(value).every((v) =>
  isObject(v) && (v.decay === undefined || typeof v.decay === 'boolean') && (v.lrScale === undefined || typeof v.lrScale === 'number') && (v.since === undefined || isCount(v.since)));

/** The tensors of a run are the graft's, in its shapes where its method does not change them. */
function checkSnapshot(graft: ActiveGraft, tensors: ReadonlyMap<string, StoredTensor>, bad: (what: string) => Error): void {
  for (const [name, spec] of graft.specs) {
    const stored = tensors.get(name);
    if (spec.elastic) continue;
    if (stored?.shape.join() !== spec.shape.join() || (stored.dtype !== 'F32' && graft.trained.has(name))) throw bad(`'${name}' is ${stored ? `${stored.dtype} [${stored.shape}], not F32 [${spec.shape}]` : 'missing'}`);
  }
}

export function snapshot(graft: ActiveGraft): Snapshot {
  const names = [...graft.trained.keys()];
  return {
    tensors: new Map([...graft.tensors].map(([n, t]) => [n, storeTensor(t)])),
    trained: Object.fromEntries(names.map((n) => [n, groupOf(graft.specs.get(n))])),
  };
}

const groupOf = ({ decay, lrScale, since }: Partial<ParamSpec> = {}): Snapshot['trained'][string] => ({ decay, lrScale, since });

/** Gives a graft the tensors of a snapshot; those that came, grew or vanished since follow. */
export function restore(graft: ActiveGraft, { tensors, trained }: Snapshot): void {
  for (const t of graft.tensors.values()) t.dispose();
  graft.tensors.clear();
  for (const [name, stored] of tensors) {
    const value = tf.keep(loadTensor(name, stored)), isTrained = Object.hasOwn(trained, name);
    // Buffers are variables too: running statistics move in place.
    graft.tensors.set(name, tf.variable(value, isTrained));
    value.dispose();
    if (isTrained) graft.specs.set(name, { init: { kind: 'zeros' }, ...graft.specs.get(name), name, shape: stored.shape, ...trained[name] });
  }
  graft.bind();
}

const prefixed = (prefix: string, tensors: ReadonlyMap<string, StoredTensor>): [string, StoredTensor][] => [...tensors].map(([n, t]) => [prefix + n, t]);
