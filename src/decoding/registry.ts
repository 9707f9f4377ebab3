import { registry } from '../registry.js';
import type { DecodingMethod } from './method.js';

const METHODS = registry<DecodingMethod<any>>('method', { // eslint-disable-line @typescript-eslint/no-explicit-any
  greedy: () => import('./greedy.js'),
  sample: () => import('./sample.js'),
  beam: () => import('./beam.js'),
});

export const decodingNames = (): string[] => METHODS.names();
export const loadDecoding = (name: string): Promise<DecodingMethod> => METHODS.load(name);
