import * as tf from '@tensorflow/tfjs-core';
import { dirname, sep } from 'node:path';
import { createRequire } from 'node:module';
import { GraftBackend, type Backend } from './backend.js';
import { choices, type BackendName, type Choice } from './choose.js';
import { memoryLimit } from './machine.js';
import { native, type Native } from './native.js';

export type { BackendName } from './choose.js';

/**
 * What products with frozen weights multiply in; sums are f32. bf16 rounds both sides: half the memory, up to twice as fast. int8 and nf4
 * keep the weights of linear layers (not of heads) as codes of 8 or 4 bits, whose values then go through bf16 products, as in QLoRA.
 * tf32, on GPUs alone: the tensor cores round operands of all matrix products through cuBLASLt to 10 bits of fraction.
 */
export const PRECISIONS = ['f32', 'tf32', 'bf16', 'int8', 'nf4'] as const;
export type Precision = (typeof PRECISIONS)[number];

export interface BackendOptions {
  /** Worker threads; default: all cores. */
  threads?: number;
  precision?: Precision;
  /** The number of the GPU, counted round where there are fewer. */
  device?: number;
  /** Receives the one-line warning when a slower backend takes over. */
  warn?: (line: string) => void;
}

/**
 * Makes `name` the backend every tensor lives on; `auto` chooses (choose.ts).
 * @returns the one it became
 * @throws Error when it was asked for by name and is not there
 */
export async function useBackend(name: BackendName = 'auto', options: BackendOptions = {}): Promise<Choice['backend']> {
  if (name !== 'auto') {
    await start(name, options);
    return name;
  }
  const found = choices(options.precision, options.device);
  for (const { backend, warning } of found) {
    if (backend === 'tensorflow' && found.length > 1 && !(await findsGpu(options))) continue;
    if (warning) options.warn?.(warning);
    await start(backend, options);
    return backend;
  }
  throw new Error('no backend'); // the last of the choices either starts or throws
}

/** The processor's best backend, whatever else there is: for work too small for a GPU. */
export async function useHost(options: BackendOptions = {}): Promise<void> {
  await start(native() ? 'cpu' : 'wasm', options);
}

async function start(name: Choice['backend'], options: BackendOptions): Promise<void> {
  switch (name) {
    case 'cpu': return startCpu(options);
    case 'wasm': return startWasm(options);
    case 'tensorflow': return startTensorflow(options);
    case 'webgpu': return startOptional('webgpu', options, ['webgpu', '@tensorflow/tfjs-backend-webgpu']);
    case 'cuda': return startCuda(options);
  }
}

/** @throws Error where the addon is missing */
async function startCpu({ threads, precision }: BackendOptions): Promise<void> {
  const addon = native();
  if (!addon) throw new Error("backend 'cpu' was not built: install a C++ compiler and run `npm run build`, or use --backend wasm");
  if (precision === 'tf32') throw new Error("backend 'cpu' has no tf32, which is of the tensor cores of GPUs: leave out --precision tf32, or give --backend cuda");
  if (threads) addon.threads(threads);
  setPrecision(addon, precision);
  addon.memoryLimit(memoryLimit());
  await startOurs('graft-cpu', () => new GraftBackend('graft-cpu', addon));
}

function setPrecision(addon: Native, precision: Precision = 'f32'): void {
  addon.halfProducts(precision !== 'f32' && precision !== 'tf32');
  addon.codeWeights({ f32: 0, tf32: 0, bf16: 0, int8: 1, nf4: 2 }[precision]);
}

/** @throws Error where the addon, the driver, NVRTC or a GPU is missing */
async function startCuda({ threads, precision = 'f32', device, warn }: BackendOptions): Promise<void> {
  const addon = native();
  if (!addon) throw new Error("backend 'cuda' needs the native addon, which was not built: install a C++ compiler and run `npm run build`");
  if (threads) addon.threads(threads);
  const { GraftCudaBackend } = await import('./cuda.js');
  const running = tf.findBackend('graft-cuda') as InstanceType<typeof GraftCudaBackend> | null, backend = running ?? new GraftCudaBackend(addon, device);
  setPrecision(addon, precision);
  backend.usePrecision(precision);
  if (!running && !backend.multipliesFast) warn?.('cuBLASLt was not found (a CUDA toolkit with CUDA_HOME set, or pip install nvidia-cublas-cu12, has it); matrix products are slower without it');
  await startOurs('graft-cuda', () => backend);
}

async function startOurs(name: Backend, make: () => tf.KernelBackend): Promise<void> {
  if (!tf.findBackendFactory(name)) tf.registerBackend(name, make);
  const { registerFallbacks } = await import('./fallback.js');
  await import('./cpu/index.js');
  registerFallbacks(name);
  await activate(name);
}

function refusePrecision(backend: BackendName, precision: Precision = 'f32'): void {
  if (precision !== 'f32') throw new Error(`backend '${backend}' multiplies in f32 only: leave out --precision ${precision}`);
}

async function startWasm({ threads, precision }: BackendOptions): Promise<void> {
  refusePrecision('wasm', precision);
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  const { registerFallbacks } = await import('./fallback.js');
  wasm.setWasmPaths(dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm')) + sep);
  if (threads) wasm.setThreadsCount(threads);
  await activate('wasm');
  registerFallbacks('wasm');
}

/** TensorFlow's own backend, from its package for Node. */
async function startTensorflow({ threads, precision, warn }: BackendOptions): Promise<void> {
  refusePrecision('tensorflow', precision);
  const { gpu, wanted, version } = await (await import('./tensorflow.js')).startTensorflow(threads);
  if (wanted && !gpu) warn?.(`TensorFlow ${version} finds no GPU it can use; it computes on the processor`);
  await activate('tensorflow');
}

/** Whether the package loads and computes on a GPU. */
async function findsGpu({ threads }: BackendOptions): Promise<boolean> {
  try {
    return (await (await import('./tensorflow.js')).startTensorflow(threads)).gpu;
  } catch {
    return false;
  }
}

/** A backend that comes from optional packages. */
async function startOptional(backend: BackendName, { precision }: BackendOptions, packages: string[]): Promise<void> {
  refusePrecision(backend, precision);
  for (const name of packages) {
    try {
      await import(name);
    } catch (error) {
      throw new Error(`backend '${backend}' needs the package ${name}, which cannot be loaded: npm install ${name} (${firstLine(error)})`);
    }
  }
  await activate(backend);
}

async function activate(name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new Error(`backend '${name}' did not start`);
  await tf.ready();
}

const firstLine = (error: unknown): string => String(error instanceof Error ? error.message : error).split('\n')[0];

/**
 * Frozen matrices stay in host memory, mapped, and take no more than so many bytes of the GPU at a time.
 * @throws Error on another backend than graft-cuda
 */
export async function offloadWeights(bytes: number): Promise<void> {
  const { GraftCudaBackend } = await import('./cuda.js'), backend = tf.backend();
  if (!(backend instanceof GraftCudaBackend)) throw new Error('weights are offloaded from a GPU: give --backend cuda');
  backend.offload(bytes);
}
