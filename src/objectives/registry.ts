import { registry } from '../registry.js';
import type { Objective } from './objective.js';

const OBJECTIVES = registry<Objective<any>>('objective', { // eslint-disable-line @typescript-eslint/no-explicit-any
  classify: () => import('./classify.js'),
  tag: () => import('./tag.js'),
  segment: () => import('./segment.js'),
  mlm: () => import('./mlm.js'),
  clm: () => import('./clm.js'),
  diffusion: () => import('./diffusion.js'),
  erase: () => import('./erase.js'),
});

export const objectiveNames = (): string[] => OBJECTIVES.names();
export const loadObjective = (name: string): Promise<Objective> => OBJECTIVES.load(name);
