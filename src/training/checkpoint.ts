import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { tf, type Tensor } from '@graft/kernels';
import type { ActiveGraft } from '../adapters/active.js';
import { dataError } from '../errors.js';
import { loadTensor, storeTensor, type StoredTensor } from '../formats/graft.js';
import { readInput } from '../formats/input.js';
import { writeOutput } from '../formats/output.js';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import type { Optimiser } from './optimiser.js';

/** Everything beside tensors that a resumed run needs. */
export interface Progressed {
  /** Optimiser steps done. */
  step: number;
  best: { value: number; step: number } | null;
  /** Evaluations since the best. */
  stale: number;
}

/** The best values so far, by stored name. */
export type Best = Map<string, StoredTensor>;

const FILE = 'training.safetensors';

/**
 * Stores a run in `directory`, whole or not at all: the file of the last time stays until the new one is on disk.
 * @param run identifies command and data; another run does not resume from it
 */
export async function saveCheckpoint(directory: string, run: string, grafts: readonly ActiveGraft[], optimiser: Optimiser, best: Best | null, progressed: Progressed): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const { steps, moments } = optimiser.save();
  const tensors: [string, StoredTensor][] = [
    ...grafts.flatMap((g, i) => [...g.tensors].map(([name, t]): [string, StoredTensor] => [`graft.${i}.${name}`, storeTensor(t)])),
    ...[...moments].map(([name, t]): [string, StoredTensor] => [`moment.${name}`, storeTensor(t)]),
    ...[...(best ?? [])].map(([name, t]): [string, StoredTensor] => [`best.${name}`, t]),
  ];
  const metadata = { 'graft.run': run, 'graft.progress': JSON.stringify(progressed), 'graft.steps': JSON.stringify(steps) };
  await writeOutput(join(directory, FILE), (out) => writeSafetensors(out, tensors.map(([name, { data, ...t }]) => ({ name, ...t, data: () => data })), metadata));
}

/** Puts a stored run back; null where the directory holds none. @throws GraftError (65) where it is another run's */
export async function loadCheckpoint(directory: string, run: string, grafts: readonly ActiveGraft[], optimiser: Optimiser): Promise<{ progressed: Progressed; best: Best | null } | null> {
  const path = join(directory, FILE);
  if (!existsSync(path)) return null;
  const { metadata, tensors } = readSafetensors(await readInput(path), path);
  if (metadata['graft.run'] !== run) throw dataError(`${path}: belongs to a run with other inputs or options; remove it, or resume with those`);
  const under = (prefix: string): Map<string, StoredTensor> => new Map([...tensors].filter(([n]) => n.startsWith(prefix)).map(([n, t]) => [n.slice(prefix.length), t]));
  grafts.forEach((graft, i) => restoreGraft(graft, under(`graft.${i}.`)));
  optimiser.restore(JSON.parse(metadata['graft.steps']), (key) => loadTensor(key, tensors.get(`moment.${key}`)!));
  const best = under('best.');
  return { progressed: JSON.parse(metadata['graft.progress']), best: best.size > 0 ? best : null };
}

/** Gives a graft's tensors stored values; those that grew or vanished in training follow. */
export function restoreGraft(graft: ActiveGraft, stored: ReadonlyMap<string, StoredTensor>): void {
  for (const name of [...graft.tensors.keys()]) if (!stored.has(name)) drop(graft.tensors, name);
  for (const [name, s] of stored) {
    const now = graft.tensors.get(name), value = loadTensor(name, s);
    if (now instanceof tf.Variable && now.shape.join() === s.shape.join()) {
      now.assign(value);
      value.dispose();
      continue;
    }
    const trained = !now || now instanceof tf.Variable;
    drop(graft.tensors, name);
    graft.tensors.set(name, trained ? tf.variable(value) : tf.keep(value));
  }
  graft.bind();
}

function drop(tensors: Map<string, Tensor>, name: string): void {
  tensors.get(name)?.dispose();
  tensors.delete(name);
}
