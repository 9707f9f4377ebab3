import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Native } from './native.js';

/** Where kernels/cuda lies, in the sources and in the package. */
export const CUDA_SOURCES = fileURLToPath(new URL('../../cuda', import.meta.url));

/** Where compiled kernels are kept between runs. */
function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'graft', 'cuda');
}

/** Makes an NVIDIA GPU (its number, counted round) the one graft-cuda computes on, once in a process. @throws Error, one line, for the first thing that is missing: driver, NVRTC, GPU */
export function startGpu(addon: Native, device = 0): void {
  addon['cuda:start'](device, CUDA_SOURCES, cacheFolder());
}

export interface Gpu {
  name: string;
  /** Compute capability, e.g. 9.0. */
  capability: string;
  multiprocessors: number;
  /** Bytes. */
  memory: number;
  /** The newest CUDA the driver serves. */
  cuda: string;
  nvrtc: string;
  /** Whether cuBLASLt was found. */
  blas: boolean;
}

/** The GPU that was started. */
export function describeGpu(addon: Native): Gpu {
  const text = new Uint8Array(1024), length = addon['cuda:describe'](text);
  const [name, capability, multiprocessors, memory, cuda, nvrtc] = Buffer.from(text.subarray(0, length)).toString().split('\n');
  return { name, capability, multiprocessors: Number(multiprocessors), memory: Number(memory), cuda, nvrtc, blas: addon['cuda:blas']() === 1 };
}

/** Names of the GPUs, as the kernel module lists them: a file `information` for each, with a line `Model:`. */
export function nvidiaGpus(folder = '/proc/driver/nvidia/gpus'): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).sort().map((slot) => /^Model:\s*(.+?)\s*$/m.exec(readFileSync(join(folder, slot, 'information'), 'utf8'))?.[1] ?? slot);
}

/** Whether the system has an NVIDIA GPU, also where the list is not to be seen (containers, WSL). */
export const gpuThere = (): boolean => nvidiaGpus().length > 0 || existsSync('/dev/nvidia0') || existsSync('/dev/dxg');
