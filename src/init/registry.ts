import { registry } from '../registry.js';
import type { Initialiser } from './initialiser.js';

const INITIALISERS = registry<Initialiser<any>>('initialisation', { // eslint-disable-line @typescript-eslint/no-explicit-any
  pissa: () => import('./pissa.js'),
  olora: () => import('./olora.js'),
  corda: () => import('./corda.js'),
  eva: () => import('./eva.js'),
  truncate: () => import('./truncate.js'),
});

export const initialiserNames = (): string[] => INITIALISERS.names().sort();
export const loadInitialiser = (name: string): Promise<Initialiser> => INITIALISERS.load(name);
