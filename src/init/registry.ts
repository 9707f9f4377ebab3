import { usageError } from '../errors.js';
import type { Initialiser } from './initialiser.js';

/** One line an initialisation. */
const INITIALISERS: Record<string, () => Promise<{ default: Initialiser<any> }>> = { // eslint-disable-line @typescript-eslint/no-explicit-any
  pissa: () => import('./pissa.js'),
  olora: () => import('./olora.js'),
  corda: () => import('./corda.js'),
  eva: () => import('./eva.js'),
  truncate: () => import('./truncate.js'),
};

export const initialiserNames = (): string[] => Object.keys(INITIALISERS).sort();

/** @throws GraftError (usage) for an unknown name. */
export async function loadInitialiser(name: string): Promise<Initialiser> {
  const load = INITIALISERS[name];
  if (!load) throw usageError(`unknown initialisation '${name}': one of ${initialiserNames().join(', ')}`);
  return (await load()).default;
}
