import { existsSync, readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { choices, type Choice } from './choose.js';
import { describeGpu, nvidiaGpus, type Gpu } from './device.js';
import { native } from './native.js';

export { nvidiaGpus };

/** What `useBackend('auto')` would compute with, found out without loading TensorFlow.js. */
export interface Machine {
  /** As TensorFlow.js calls it. */
  backend: string;
  /** Why this one. */
  because: string;
  /** The instruction set chosen for the kernels. */
  isa: string;
  /** Worker threads; null where WebAssembly decides. */
  threads: number | null;
  /** Names of the graphics processors the driver lists. */
  gpus: string[];
}

const X86 = ['x86-64', 'avx2', 'avx512', 'avx512-bf16'];

/** The TensorFlow.js backend behind a choice. */
export const backendName = (choice: Choice['backend']): string => (choice === 'cpu' || choice === 'cuda' ? `graft-${choice}` : choice);

/** @throws Error where GRAFT_BACKEND names none */
export function describeMachine(): Machine {
  const addon = native(), [{ backend, because }] = choices();
  const isa = !addon ? 'wasm-simd' : process.arch === 'x64' ? X86[addon.isa()] : process.arch;
  return { backend: backendName(backend), because, isa, threads: addon ? addon.threads() : null, gpus: nvidiaGpus() };
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

/** The GPU that graft-cuda computes on. @throws Error before it has started */
export const gpu = (): Gpu => describeGpu(native()!);
