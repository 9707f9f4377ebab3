import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { native } from './native.js';

/** What `useBackend('auto')` would compute with, found out without loading TensorFlow.js. */
export interface Machine {
  backend: 'graft-cpu' | 'wasm';
  /** The instruction set chosen for the kernels. */
  isa: string;
  /** Worker threads; null where WebAssembly decides. */
  threads: number | null;
  /** Names of the graphics processors the driver lists. */
  gpus: string[];
}

const X86 = ['x86-64', 'avx2', 'avx512', 'avx512-bf16'];

export function describeMachine(): Machine {
  const addon = native();
  const gpus = nvidiaGpus();
  if (!addon) return { backend: 'wasm', isa: 'wasm-simd', threads: null, gpus };
  const isa = process.arch === 'x64' ? X86[addon.isa()] : process.arch;
  return { backend: 'graft-cpu', isa, threads: addon.threads(), gpus };
}

/** As the kernel module lists them: a file `information` for each, with a line `Model:`. */
export function nvidiaGpus(folder = '/proc/driver/nvidia/gpus'): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).sort().map((slot) => /^Model:\s*(.+?)\s*$/m.exec(readFileSync(join(folder, slot, 'information'), 'utf8'))?.[1] ?? slot);
}
