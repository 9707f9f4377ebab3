import type { Precision } from './backends.js';
import { describeGpu, gpuThere, startGpu, type Gpu } from './device.js';
import { native, type Native } from './native.js';
import { tensorflowInstalled } from './tensorflow.js';

const BACKEND_NAMES = ['auto', 'cpu', 'cuda', 'tensorflow', 'webgpu', 'wasm'] as const;
export type BackendName = (typeof BACKEND_NAMES)[number];

/** A backend that `auto` may stand for. */
export interface Choice {
  backend: Exclude<BackendName, 'auto'>;
  /** Why this one, in a few words. */
  because: string;
  /** What a user should hear: a GPU is left idle, or a slower backend takes over. */
  warning?: string;
}

/** What the choice depends on. */
export interface Facts {
  /** GRAFT_BACKEND. */
  wished?: string;
  precision: Precision;
  /** Whether the native addon loads. */
  addon: boolean;
  /** The GPU that graft-cuda has started on, or what keeps it from that. */
  cuda: Gpu | { missing: string };
  /** Whether the system has an NVIDIA GPU. */
  gpu: boolean;
  /** Whether one of TensorFlow's packages is installed. */
  tensorflow: boolean;
}

/** What `auto` stands for here. @param device the number of the GPU that is tried */
export function choices(precision: Precision = 'f32', device = 0): Choice[] {
  const addon = native(), wished = process.env.GRAFT_BACKEND;
  if (wished && wished !== 'auto') return choose({ wished, precision, addon: addon !== null, cuda: { missing: '' }, gpu: false, tensorflow: false });
  return choose({ precision, addon: addon !== null, cuda: addon ? startedGpu(addon, device) : { missing: 'the native backend was not built' }, gpu: gpuThere(), tensorflow: tensorflowInstalled() });
}

/**
 * The best first: what GRAFT_BACKEND names; graft-cuda where a GPU starts; where none does though there is one, TensorFlow's package if it is
 * installed; the processor by the native addon, or by WebAssembly. TensorFlow finds out whether it can use the GPU only when it is loaded:
 * what comes after it is for where it cannot.
 * @throws Error where GRAFT_BACKEND names none
 */
export function choose({ wished, precision, addon, cuda, gpu, tensorflow }: Facts): Choice[] {
  if (wished) {
    if (!(BACKEND_NAMES as readonly string[]).includes(wished)) throw new Error(`GRAFT_BACKEND is '${wished}', none of ${BACKEND_NAMES.join(', ')}`);
    return [{ backend: wished as Choice['backend'], because: 'GRAFT_BACKEND names it' }];
  }
  if (!('missing' in cuda)) {
    const { name, capability, cuda: served, nvrtc, blas } = cuda;
    return [{ backend: 'cuda', because: `${name}, compute capability ${capability}; the driver serves CUDA ${served}; NVRTC ${nvrtc}; ${blas ? 'with' : 'without'} cuBLASLt` }];
  }
  const { missing } = cuda, found: Choice[] = [], because = `${gpu ? 'graft-cuda cannot use the GPU' : 'no GPU'}: ${missing.split(':')[0]}`;
  if (gpu && precision === 'f32' && tensorflow) found.push({ backend: 'tensorflow', because });
  if (addon) found.push({ backend: 'cpu', because, ...(gpu && { warning: `there is a GPU, but graft-cuda cannot use it: ${missing}` }) });
  else found.push({ backend: 'wasm', because: missing, warning: 'the native backend was not built (no C++ compiler?); running on WebAssembly, which is slower' });
  return found;
}

/** Starts the GPU. */
function startedGpu(addon: Native, device: number): Facts['cuda'] {
  try {
    startGpu(addon, device);
    return describeGpu(addon);
  } catch (error) {
    return { missing: (error as Error).message.replace(/^cuda: /, '') };
  }
}
