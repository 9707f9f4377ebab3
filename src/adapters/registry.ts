import { registry } from '../registry.js';
import type { Method } from './method.js';

const METHODS = registry<Method<any>>('method', { // eslint-disable-line @typescript-eslint/no-explicit-any
  full: () => import('./full.js'),
  bitfit: () => import('./bitfit.js'),
  linear: () => import('./linear.js'),
  lora: () => import('./lora.js'),
  dora: () => import('./dora.js'),
  adalora: () => import('./adalora.js'),
  increlora: () => import('./increlora.js'),
  triadaptlora: () => import('./triadaptlora.js'),
  codyra: () => import('./codyra.js'),
  hydra: () => import('./hydra.js'),
  vera: () => import('./vera.js'),
  ia3: () => import('./ia3.js'),
  loha: () => import('./loha.js'),
  lokr: () => import('./lokr.js'),
  dsee: () => import('./dsee.js'),
  flora: () => import('./flora.js'),
  pela: () => import('./pela.js'),
  spm: () => import('./spm.js'),
  meteora: () => import('./meteora.js'),
  poly: () => import('./poly.js'),
  bottleneck: () => import('./bottleneck.js'),
  prefix: () => import('./prefix.js'),
  prompt: () => import('./prompt.js'),
  'pixel-prompt': () => import('./pixel-prompt.js'),
});

export const methodNames = (): string[] => METHODS.names().sort();
export const loadMethod = (name: string): Promise<Method> => METHODS.load(name);
