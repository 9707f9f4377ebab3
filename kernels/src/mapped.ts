import * as tf from '@tensorflow/tfjs-core';
import { closeSync, openSync, readSync, fstatSync } from 'node:fs';
import { GraftBackend } from './backend.js';
import { markFrozen } from './fused.js';
import { STORAGE } from './native.js';

export type StorageType = 'F32' | 'F16' | 'BF16';

/** A read-only file whose tensors are handed out without copying it whole. */
export interface MappedFile {
  readonly bytes: number;
  /** A float32 tensor over `length` stored values at `offset` (bytes). On graft-cpu the pages stay mapped and keep their dtype. */
  tensor(offset: number, shape: number[], dtype: StorageType): tf.Tensor;
  /** A copy of the bytes of [offset, offset + length), in new memory or at the start of `into`. */
  read(offset: number, length: number, into?: Uint8Array): Uint8Array;
  /** The open file. */
  readonly fd: number;
  close(): void;
}

/** Opens `path` for mapped reading. @throws the file system's own error when it cannot be opened. */
export function openMapped(path: string): MappedFile {
  const fd = openSync(path, 'r');
  const read = (offset: number, length: number, into?: Uint8Array): Uint8Array => {
    const out = into?.subarray(0, length) ?? new Uint8Array(length);
    for (let done = 0; done < length;) {
      const n = readSync(fd, out, done, length - done, offset + done);
      if (n === 0) throw new Error(`${path}: ended ${length - done} bytes early`);
      done += n;
    }
    return out;
  };
  let file: { backend: GraftBackend; id: number } | undefined;
  const mapped = (backend: GraftBackend, offset: number, size: number, shape: number[], dtype: StorageType): tf.Tensor => {
    file ??= { backend, id: backend.native.mapOpen(path) };
    const info = backend.adopt(backend.native.mapTensor(file.id, offset, size, STORAGE[dtype]), shape, 'float32');
    return tf.engine().makeTensorFromTensorInfo(markFrozen(info), backend);
  };
  return {
    bytes: fstatSync(fd).size, fd,
    read,
    tensor: (offset, shape, dtype) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const backend = tf.backend();
      // A value must lie at a multiple of its size to be used where it is.
      if (backend instanceof GraftBackend && offset % (dtype === 'F32' ? 4 : 2) === 0) return mapped(backend, offset, size, shape, dtype);
      return tf.tensor(widen(read(offset, size * (dtype === 'F32' ? 4 : 2)), dtype), shape, 'float32');
    },
    close: () => {
      closeSync(fd);
      if (file) file.backend.native.mapClose(file.id);
    },
  };
}

/** f16 or bf16 bytes as float32 values. */
export function widen(bytes: Uint8Array, dtype: StorageType): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const half = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const out = new Float32Array(half.length);
  const bits = new Uint32Array(out.buffer);
  if (dtype === 'BF16') for (let i = 0; i < half.length; i++) bits[i] = half[i] << 16;
  else for (let i = 0; i < half.length; i++) out[i] = halfToFloat(half[i]);
  return out;
}

function halfToFloat(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
