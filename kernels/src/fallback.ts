import * as tf from '@tensorflow/tfjs-core';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';

/** What a fallback needs of the backend it serves. */
type Host = tf.KernelBackend & { write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object };

type Input = tf.TensorInfo | tf.TensorInfo[] | null | undefined;
type Inputs = Record<string, Input> | tf.TensorInfo[];

const counts = new Map<string, number>();

/** How often each kernel ran as a fallback since `resetFallbackCounts`; of graft-cuda also native functions that ran on the host, as `host:…`. */
export function fallbackCounts(): Record<string, number> {
  return Object.fromEntries(counts);
}

export function resetFallbackCounts(): void {
  counts.clear();
}

export function countFallback(name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** Lends `backendName` every kernel of TensorFlow.js's JavaScript backend that it lacks: inputs are copied there, outputs back. */
export function registerFallbacks(backendName: string): void {
  for (const { kernelName } of tf.getKernelsForBackend('cpu')) {
    // A backend without Complex of its own cannot hold complex64: borrowing it would call itself.
    if (kernelName === 'Complex' || tf.getKernel(kernelName, backendName)) continue;
    tf.registerKernel({ kernelName, backendName, kernelFunc: (call) => runFallback(kernelName, backendName, call) });
  }
}

/** Runs one kernel of the JavaScript backend for `backendName`; also for a kernel of its own that leaves strings or complex64 to it. */
export function runFallback(kernelName: string, backendName: string, { inputs, attrs, backend }: Parameters<tf.KernelFunc>[0]): tf.TensorInfo | tf.TensorInfo[] {
  countFallback(kernelName);
  const { kernelFunc } = tf.getKernel(kernelName, 'cpu');
  return runOn(javascript(), backend as Host, backendName, kernelFunc, inputs as Inputs, attrs);
}

let instance: MathBackendCPU | undefined;

function javascript(): MathBackendCPU {
  if (!instance) {
    instance = new MathBackendCPU();
    (instance as unknown as { firstUse: boolean }).firstUse = false; // no advertisement
  }
  return instance;
}

function runOn(cpu: MathBackendCPU, host: Host, hostName: string, kernel: tf.KernelFunc, inputs: Inputs, attrs?: tf.NamedAttrMap): tf.TensorInfo | tf.TensorInfo[] {
  const lent = new Map<object, tf.TensorInfo>();
  const lend = (t: tf.TensorInfo): tf.TensorInfo => {
    const known = lent.get(t.dataId) ?? toCpu(cpu, host.readSync(t.dataId), t.shape, t.dtype);
    lent.set(t.dataId, known);
    return { ...known, shape: t.shape, rank: t.shape.length } as tf.TensorInfo; // some kernels read the rank of what they take for tensors
  };
  const lendAll = (x: Input): Input => (Array.isArray(x) ? x.map(lend) : x && lend(x));
  const copies = Array.isArray(inputs) ? inputs.map(lend) : Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, lendAll(x)]));
  const out = kernel({ inputs: copies as unknown as tf.NamedTensorInfoMap, attrs, backend: cpu });
  const outs = Array.isArray(out) ? out : [out];
  const results = outs.map((t) => toHost(host, hostName, cpu.readSync(t.dataId), t));
  for (const t of [...outs, ...lent.values()]) cpu.disposeData(t.dataId, true);
  return Array.isArray(out) ? results : results[0];
}

function toCpu(cpu: MathBackendCPU, values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): tf.TensorInfo {
  if (dtype !== 'complex64') return { dataId: cpu.write(values, shape, dtype), shape, dtype };
  const { real, imag } = tf.backend_util.splitRealAndImagArrays(values as Float32Array);
  return joined('cpu', cpu, toCpu(cpu, real, shape, 'float32'), toCpu(cpu, imag, shape, 'float32'));
}

function toHost(host: Host, hostName: string, values: tf.backend_util.BackendValues, { shape, dtype }: tf.TensorInfo): tf.TensorInfo {
  if (dtype !== 'complex64') return { dataId: host.write(values, shape, dtype), shape, dtype };
  const { real, imag } = tf.backend_util.splitRealAndImagArrays(values as Float32Array);
  const part = (v: Float32Array): tf.TensorInfo => ({ dataId: host.write(v, shape, 'float32'), shape, dtype: 'float32' });
  return joined(hostName, host, part(real), part(imag));
}

/** The backend's own Complex kernel, which takes references of its own to both parts. */
function joined(name: string, backend: tf.KernelBackend, real: tf.TensorInfo, imag: tf.TensorInfo): tf.TensorInfo {
  const out = tf.getKernel('Complex', name).kernelFunc({ inputs: { real, imag }, backend }) as tf.TensorInfo;
  for (const part of [real, imag]) backend.disposeData(part.dataId);
  return out;
}
