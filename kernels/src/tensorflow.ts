import type { KernelBackend } from '@tensorflow/tfjs-core';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** TensorFlow's packages for Node, the first that is installed; both give the TensorFlow.js backend `tensorflow`. */
const PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];

const NEEDS = 'the TensorFlow 2.9 it downloads computes on a GPU with CUDA 11.2 and cuDNN 8.1';

/** What their backend says of itself. */
interface NodeBackend extends KernelBackend { isUsingGpuDevice: boolean; binding: { TF_Version: string } }

/** A package that is installed: under GRAFT_TENSORFLOW, a folder with node_modules in it, or where graft finds its own packages. */
function installed(): { name: string; require: NodeJS.Require } | undefined {
  const { GRAFT_TENSORFLOW: folder } = process.env;
  const require = createRequire(folder ? join(folder, 'package.json') : import.meta.url);
  for (const name of PACKAGES) {
    try {
      require.resolve(`${name}/package.json`);
      return { name, require };
    } catch { /* the other one, then */ }
  }
  return undefined;
}

export const tensorflowInstalled = (): boolean => installed() !== undefined;

/**
 * Loads the package, which registers its backend and makes it the current one. What graft computes with is then what its fused operations
 * are defined by, in TensorFlow.js's own operations; those that the package lacks run on its JavaScript backend.
 * @returns whether TensorFlow computes on a GPU, where the package is the one for that; and its version
 * @throws Error, one line, where no package is installed or its binding does not load
 */
export async function startTensorflow(threads?: number): Promise<{ gpu: boolean; wanted: boolean; version: string }> {
  const found = installed();
  if (!found) {
    throw new Error(`backend 'tensorflow' needs a package that is not installed${process.env.GRAFT_TENSORFLOW ? ` in ${process.env.GRAFT_TENSORFLOW}` : ''}: npm install ${PACKAGES[0]} (${NEEDS}), or ${PACKAGES[1]} for the CPU`);
  }
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'; // it greets on standard error
  if (threads) Object.assign(process.env, { TF_NUM_INTRAOP_THREADS: String(threads), OMP_NUM_THREADS: String(threads) });
  const tf = await import('@tensorflow/tfjs-core'), { registerFallbacks } = await import('./fallback.js');
  try {
    quietly(() => withOldUtil(() => found.require(found.name)));
  } catch (error) {
    throw new Error(`backend 'tensorflow': ${found.name} is installed, but does not load (${String((error as Error).message ?? error).split('\n')[0].trim()}): npm rebuild ${found.name}; ${NEEDS}`, { cause: error });
  }
  registerFallbacks('tensorflow');
  const { isUsingGpuDevice, binding } = tf.backend() as NodeBackend;
  return { gpu: isUsingGpuDevice, wanted: found.name === PACKAGES[0], version: binding.TF_Version };
}

/** The package asks `util` for tests that Node 23 took away. */
function withOldUtil(load: () => void): void {
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown>;
  util.isNullOrUndefined ??= (x: unknown) => x === null || x === undefined;
  util.isArray ??= Array.isArray;
  load();
}

/** Where it brings TensorFlow.js along a second time, each kernel of the CPU is registered once more, with a warning. */
function quietly(load: () => void): void {
  const { warn } = console;
  console.warn = () => {};
  try {
    load();
  } finally {
    console.warn = warn;
  }
}
