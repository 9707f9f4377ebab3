import { tf, type Rng, type Tensor1D, type Tensor4D } from '@graft/kernels';
import type { SourceBatch } from './method.js';

/** The images of the source domain as one set to draw batches from. */
export class SourceImages {
  /** Rows in a batch: those of the batches given. */
  readonly size: number;
  readonly count: number;
  private readonly pixels: Tensor4D;
  readonly labels?: Tensor1D;

  constructor(batches: readonly SourceBatch[]) {
    this.size = batches[0].pixels.shape[0];
    this.pixels = tf.concat(batches.map((b) => b.pixels), 0);
    if (batches.every((b) => b.labels)) this.labels = tf.concat(batches.map((b) => b.labels!), 0);
    this.count = this.pixels.shape[0];
  }

  /** All of them once, in random order. The last batch may be smaller. A batch is freed when the next is asked for. */
  *epoch(rng: Rng): Generator<SourceBatch> {
    const order = rng.permutation(this.count);
    for (let at = 0; at < this.count; at += this.size) yield* this.lent(order.subarray(at, at + this.size));
  }

  /** So many full batches, in one random order after another. */
  *batches(steps: number, rng: Rng): Generator<SourceBatch> {
    const size = Math.min(this.size, this.count);
    let order = rng.permutation(this.count), at = 0;
    for (let step = 0; step < steps; step++, at += size) {
      if (at + size > this.count) {
        order = rng.permutation(this.count);
        at = 0;
      }
      yield* this.lent(order.subarray(at, at + size));
    }
  }

  private *lent(rows: Uint32Array): Generator<SourceBatch> {
    const chosen = tf.tensor1d(Int32Array.from(rows), 'int32');
    const batch = { pixels: tf.gather(this.pixels, chosen), ...(this.labels ? { labels: tf.gather(this.labels, chosen) as Tensor1D } : {}) };
    yield batch;
    tf.dispose([chosen, ...Object.values(batch)]);
  }

  dispose(): void {
    tf.dispose([this.pixels, ...(this.labels ? [this.labels] : [])]);
  }
}
