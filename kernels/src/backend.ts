import * as tf from '@tensorflow/tfjs-core';
import { STORAGE, type Native } from './native.js';

/** What a tensor of ours is: native memory, or strings, or a pair of tensors for complex64. */
interface Entry {
  dtype: tf.DataType;
  refCount: number;
  handle?: number;
  strings?: Uint8Array[];
  complex?: { real: tf.TensorInfo; imag: tf.TensorInfo };
}

/** Our backends, which share everything but their native functions: kernels/cpu's, and those of kernels/cuda in their places. */
export const BACKENDS = ['graft-cpu', 'graft-cuda'] as const;
export type Backend = (typeof BACKENDS)[number];

/** The TensorFlow.js backend over native functions. Tensors are native buffers behind integer handles. */
export class GraftBackend extends tf.KernelBackend {
  protected readonly data: tf.DataStorage<Entry>;

  constructor(readonly name: Backend, readonly native: Native) {
    super();
    this.data = new tf.DataStorage(this, tf.engine());
  }

  // --- for kernels ---

  /** The native buffer of a tensor. */
  handle(t: tf.TensorInfo): number {
    const { handle } = this.data.get(t.dataId);
    if (handle === undefined) throw new Error(`${this.name}: a ${t.dtype} tensor has no native buffer`);
    return handle;
  }

  /** A new tensor, its values not yet set. */
  output(shape: readonly number[], dtype: 'float32' | 'int32' | 'bool' = 'float32'): tf.TensorInfo {
    return this.adopt(this.native.create(tf.util.sizeFromShape(shape as number[]), storageOf(dtype)), shape, dtype);
  }

  /** A tensor over a native handle, which it then owns. */
  adopt(handle: number, shape: readonly number[], dtype: tf.DataType): tf.TensorInfo {
    return this.store(shape, { dtype, refCount: 1, handle });
  }

  /** The same memory under another shape. */
  alias(t: tf.TensorInfo, shape: readonly number[] = t.shape): tf.TensorInfo {
    this.incRef(t.dataId);
    return { dataId: t.dataId, shape: shape as number[], dtype: t.dtype };
  }

  /** A tensor with these values. */
  make(values: tf.backend_util.BackendValues, shape: readonly number[], dtype: tf.DataType): tf.TensorInfo {
    return { dataId: this.write(values, shape as number[], dtype), shape: shape as number[], dtype };
  }

  /** Takes over one reference to each part. */
  complex(real: tf.TensorInfo, imag: tf.TensorInfo): tf.TensorInfo {
    return this.store(real.shape, { dtype: 'complex64', refCount: 1, complex: { real, imag } });
  }

  /** The parts of a complex64 tensor, still owned by it. */
  parts(t: tf.TensorInfo): { real: tf.TensorInfo; imag: tf.TensorInfo } {
    return this.data.get(t.dataId).complex!;
  }

  release(t: tf.TensorInfo): void {
    this.disposeData(t.dataId);
  }

  // --- for the engine ---

  override write(values: tf.backend_util.BackendValues | null, shape: number[], dtype: tf.DataType): object {
    const dataId = {};
    this.move(dataId, values, shape, dtype, 1);
    return dataId;
  }

  override move(dataId: object, values: tf.backend_util.BackendValues | null, shape: number[], dtype: tf.DataType, refCount: number): void {
    if (dtype === 'string') {
      this.data.set(dataId, { dtype, refCount, strings: (values ?? []) as Uint8Array[] });
    } else if (dtype === 'complex64') {
      const { real, imag } = tf.backend_util.splitRealAndImagArrays(values as Float32Array);
      this.data.set(dataId, { dtype, refCount, complex: { real: this.make(real, shape, 'float32'), imag: this.make(imag, shape, 'float32') } });
    } else {
      const handle = this.native.create(tf.util.sizeFromShape(shape), storageOf(dtype));
      this.data.set(dataId, { dtype, refCount, handle });
      if (values) this.native.upload(handle, typed(values as ArrayLike<number>, dtype));
    }
  }

  override async read(dataId: object): Promise<tf.backend_util.BackendValues> {
    return this.readSync(dataId);
  }

  override readSync(dataId: object): tf.backend_util.BackendValues {
    const { dtype, handle, strings, complex } = this.data.get(dataId);
    if (strings) return strings;
    if (complex) {
      const [real, imag] = [complex.real, complex.imag].map((t) => this.readSync(t.dataId) as Float32Array);
      return tf.backend_util.mergeRealAndImagArrays(real, imag);
    }
    const out = this.room(handle!, dtype);
    this.native.download(handle!, out);
    return out;
  }

  /** An array for a buffer's values. */
  protected room(handle: number, dtype: tf.DataType): Float32Array | Int32Array | Uint8Array {
    const count = this.native.count(handle);
    return dtype === 'float32' ? new Float32Array(count) : dtype === 'int32' ? new Int32Array(count) : new Uint8Array(count);
  }

  override disposeData(dataId: object, force = false): boolean {
    if (!this.data.has(dataId)) return true;
    const entry = this.data.get(dataId);
    entry.refCount--;
    if (!force && entry.refCount > 0) return false;
    if (entry.handle !== undefined) this.native.destroy(entry.handle);
    if (entry.complex) for (const part of [entry.complex.real, entry.complex.imag]) this.disposeData(part.dataId);
    this.data.delete(dataId);
    return true;
  }

  override refCount(dataId: object): number {
    return this.data.has(dataId) ? this.data.get(dataId).refCount : 0;
  }

  override incRef(dataId: object): void {
    this.data.get(dataId).refCount++;
  }

  override numDataIds(): number {
    return this.data.numDataIds();
  }

  /** Native bytes: `live` in tensors, `cached` for reuse, `mapped` files, `packed` copies of frozen weights; and live `buffers`. */
  override memory(): { unreliable: boolean; live: number; peak: number; cached: number; mapped: number; packed: number; buffers: number } {
    const [live, peak, cached, mapped, packed, buffers] = [0, 1, 2, 3, 4, 5].map((i) => this.native.counter(i));
    return { unreliable: false, live, peak, cached, mapped, packed, buffers };
  }

  override async time(f: () => void): Promise<tf.BackendTimingInfo> {
    const start = tf.util.now();
    f();
    return { kernelMs: tf.util.now() - start };
  }

  override timerAvailable(): boolean {
    return true;
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override dispose(): void {}

  private store(shape: readonly number[], entry: Entry): tf.TensorInfo {
    const dataId = {};
    this.data.set(dataId, entry);
    return { dataId, shape: shape as number[], dtype: entry.dtype };
  }
}

function storageOf(dtype: tf.DataType): number {
  switch (dtype) {
    case 'float32': return STORAGE.F32;
    case 'int32': return STORAGE.I32;
    case 'bool': return STORAGE.BOOL;
    default: throw new Error(`graft: ${dtype} has no native storage`);
  }
}

function typed(values: ArrayLike<number>, dtype: tf.DataType): ArrayBufferView {
  if (dtype === 'float32') return values instanceof Float32Array ? values : Float32Array.from(values);
  if (dtype === 'int32') return values instanceof Int32Array ? values : Int32Array.from(values);
  return values instanceof Uint8Array ? values : Uint8Array.from(values);
}

type Inputs = Record<string, tf.TensorInfo>;
export interface KernelCall<A = Record<string, never>> {
  /** Named inputs; where TensorFlow.js passes a list (Concat, Pack, AddN) it is keyed 0, 1, …: use `Object.values`. */
  inputs: Inputs;
  attrs: A;
  backend: GraftBackend;
}

/** Registers a native kernel of our backends under TensorFlow.js's name for it. Outputs are new tensors (`backend.output`) or aliases (`backend.alias`). */
export function defineKernel<A = Record<string, never>>(name: string, run: (call: KernelCall<A>) => tf.TensorInfo | tf.TensorInfo[]): void {
  for (const backendName of BACKENDS) tf.registerKernel({ kernelName: name, backendName, kernelFunc: run as unknown as tf.KernelFunc });
}
