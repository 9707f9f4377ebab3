import { registry } from '../registry.js';
import type { Sampler } from './method.js';

const SAMPLERS = registry<Sampler<any>>('sampler', { // eslint-disable-line @typescript-eslint/no-explicit-any
  ddim: () => import('./ddim.js'),
  ddpm: () => import('./ddpm.js'),
});

export const samplerNames = (): string[] => SAMPLERS.names();
export const loadSampler = (name: string): Promise<Sampler> => SAMPLERS.load(name);
