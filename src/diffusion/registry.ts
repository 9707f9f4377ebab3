import { usageError } from '../errors.js';
import type { Sampler } from './method.js';

/** One line a way of sampling: its module is loaded when it is asked for. */
const SAMPLERS: Record<string, () => Promise<{ default: Sampler<any> }>> = { // eslint-disable-line @typescript-eslint/no-explicit-any
  ddim: () => import('./ddim.js'),
  ddpm: () => import('./ddpm.js'),
};

export const samplerNames = (): string[] => Object.keys(SAMPLERS);

/** @throws GraftError (usage) for an unknown name. */
export async function loadSampler(name: string): Promise<Sampler> {
  const load = Object.hasOwn(SAMPLERS, name) ? SAMPLERS[name] : undefined;
  if (!load) throw usageError(`unknown sampler '${name}': one of ${samplerNames().join(', ')}`);
  return (await load()).default;
}
