import { tf, type Tensor1D, type Tensor4D } from '@graft/kernels';
import type { SourceBatch } from './method.js';

/** The source images by domain. */
export class Domains {
  readonly pixels: Tensor4D;
  readonly labels: Int32Array;
  /** Rows of each domain. */
  readonly rows: number[][];

  constructor(batches: readonly SourceBatch[]) {
    this.pixels = tf.concat(batches.map((b) => b.pixels), 0);
    this.labels = Int32Array.from(batches.flatMap((b) => [...b.labels!.dataSync()]));
    const byName = new Map<string, number[]>();
    batches.flatMap((b) => b.domains!).forEach((name, i) => byName.set(name, [...(byName.get(name) ?? []), i]));
    this.rows = [...byName.values()];
  }

  take(rows: readonly number[]): { pixels: Tensor4D; labels: Tensor1D } {
    const chosen = tf.tensor1d(rows as number[], 'int32');
    return { pixels: tf.gather(this.pixels, chosen), labels: tf.tensor1d(rows.map((r) => this.labels[r]), 'int32') };
  }
}
