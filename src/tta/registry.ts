import { usageError } from '../errors.js';
import type { TtaMethod } from './method.js';

/** One line a method: its module is loaded when it is asked for. */
const METHODS: Record<string, () => Promise<{ default: TtaMethod<any> }>> = { // eslint-disable-line @typescript-eslint/no-explicit-any
  source: () => import('./source.js'),
  'bn-adapt': () => import('./bn-adapt.js'),
  tent: () => import('./tent.js'),
  cotta: () => import('./cotta.js'),
};

export const ttaNames = (): string[] => Object.keys(METHODS);

/** @throws GraftError (usage) for an unknown name. */
export async function loadTta(name: string): Promise<TtaMethod> {
  const load = METHODS[name];
  if (!load) throw usageError(`unknown method '${name}': one of ${ttaNames().join(', ')}`);
  return (await load()).default;
}
