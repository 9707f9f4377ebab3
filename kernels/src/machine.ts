import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
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

/**
 * Bytes that this process may hope for: what GRAFT_MEMORY says, in MiB, or else the machine's memory and swap, or what its control group is
 * left of them. A run that needs more is told so rather than ended by the system.
 */
export function memoryLimit({ GRAFT_MEMORY: set } = process.env): number {
  if (set && Number(set) > 0) return Math.floor(Number(set) * 2 ** 20);
  const swap = existsSync('/proc/meminfo') ? Number(/^SwapTotal:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024 : 0;
  const all = totalmem() + swap, group = process.constrainedMemory?.() ?? 0;
  return group > 0 && group < totalmem() ? group : all;
}
