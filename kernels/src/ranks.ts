import * as tf from '@tensorflow/tfjs-core';
import { GraftBackend } from './backend.js';
import { native, type Native } from './native.js';

export interface RankOptions {
  /** Of this process, 0 … size - 1. */
  rank: number;
  size: number;
  /** Where rank 0 listens. */
  host: string;
  port: number;
  /** The same in all processes of a run and in no other's; at most 2^53. */
  run: number;
  /** How long to wait for the others. */
  seconds?: number;
}

/**
 * The processes of one run (data parallel), as this one sees them. Every call is made by all, in the same order; what it gives is the same
 * to the last bit in each. Through TCP by way of rank 0; tensors on a GPU through NCCL where it is found.
 */
export class Ranks {
  private constructor(private readonly addon: Native, readonly rank: number, readonly size: number, private readonly overNccl: boolean) {}

  /** @throws Error without the addon, or where the others do not come */
  static open({ rank, size, host, port, run, seconds = 60 }: RankOptions, warn?: (line: string) => void): Ranks {
    const addon = native();
    if (!addon) throw new Error('ranks: several processes need the native addon, which was not built: install a C++ compiler and run `npm run build`');
    addon.ranksOpen(rank, size, host, port, run, seconds);
    return new Ranks(addon, rank, size, tf.getBackend() === 'graft-cuda' && startNccl(addon, rank, size, warn));
  }

  /** In place of the values their sum over all ranks, in the order of ranks. @throws Error naming a rank that has ended */
  sum<T extends Float32Array | Float64Array>(values: T): T {
    this.addon.ranksSum(values, values instanceof Float64Array);
    return values;
  }

  /** The sum over all ranks of one number each. */
  total(value: number): number {
    return this.sum(Float64Array.of(value))[0];
  }

  /** Takes the tensor and gives the sum over all ranks. */
  sumTensor(t: tf.Tensor1D): tf.Tensor1D {
    const backend = tf.backend();
    if (this.overNccl && backend instanceof GraftBackend) {
      this.addon['cuda:ncclSum'](backend.handle(t));
      return t;
    }
    const values = this.sum(t.dataSync() as Float32Array);
    t.dispose();
    return tf.tensor1d(values);
  }

  close(): void {
    this.addon.ranksClose();
  }
}

/** @returns whether all ranks have it; rank 0 says */
function startNccl(addon: Native, rank: number, size: number, warn?: (line: string) => void): boolean {
  const identity = new Uint8Array(128), there = new Uint8Array(1);
  if (rank === 0) there[0] = addon['cuda:ncclIdentity'](identity);
  addon.ranksShare(there);
  if (!there[0]) {
    if (rank === 0) warn?.('libnccl.so.2 was not found (pip install nvidia-nccl-cu12 has it); gradients go from GPU to GPU by way of the host, which is slower');
    return false;
  }
  addon.ranksShare(identity);
  addon['cuda:ncclOpen'](identity, rank, size);
  return true;
}
