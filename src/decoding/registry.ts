import { usageError } from '../errors.js';
import type { DecodingMethod } from './method.js';

/** One line a way of choosing tokens: its module is loaded when it is asked for. */
const METHODS: Record<string, () => Promise<{ default: DecodingMethod<any> }>> = { // eslint-disable-line @typescript-eslint/no-explicit-any
  greedy: () => import('./greedy.js'),
  sample: () => import('./sample.js'),
  beam: () => import('./beam.js'),
};

export const decodingNames = (): string[] => Object.keys(METHODS);

/** @throws GraftError (usage) for an unknown name. */
export async function loadDecoding(name: string): Promise<DecodingMethod> {
  const load = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
  if (!load) throw usageError(`unknown method '${name}': one of ${decodingNames().join(', ')}`);
  return (await load()).default;
}
