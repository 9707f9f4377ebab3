import { usageError } from '../errors.js';
import type { Objective } from './objective.js';

const OBJECTIVES: Record<string, () => Promise<{ default: Objective<any> }>> = { // eslint-disable-line @typescript-eslint/no-explicit-any
  classify: () => import('./classify.js'),
  tag: () => import('./tag.js'),
  mlm: () => import('./mlm.js'),
  clm: () => import('./clm.js'),
  diffusion: () => import('./diffusion.js'),
  erase: () => import('./erase.js'),
};

export const objectiveNames = (): string[] => Object.keys(OBJECTIVES);

/** @throws GraftError (usage) for an unknown name. */
export async function loadObjective(name: string): Promise<Objective> {
  const load = OBJECTIVES[name];
  if (!load) throw usageError(`unknown objective '${name}': one of ${objectiveNames().join(', ')}`);
  return (await load()).default;
}
