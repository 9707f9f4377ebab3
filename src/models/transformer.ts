import { tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { dataError } from '../errors.js';
import type { Forward } from './forward.js';
import type { Features } from './model.js';
import type { Tokens } from './site.js';

/** x through a model's blocks, one after another. */
export function through<B>(blocks: readonly B[], x: Tensor, run: (block: B, h: Tensor, isLast: boolean) => Tensor): Tensor {
  return blocks.reduce((h, block, i) => run(block, h, i === blocks.length - 1), x);
}

/** [B, T, H·dh] → [B, T, H, dh]. */
export function splitHeads(x: Tensor, heads: number): Tensor4D {
  const [B, T, d] = x.shape as number[];
  return tf.reshape(x, [B, T, heads, d / heads]) as Tensor4D;
}

/** [B, T, H, dh] → [B, T, H·dh]. */
export function joinHeads(x: Tensor4D): Tensor {
  const [B, T, H, dh] = x.shape;
  return tf.reshape(x, [B, T, H * dh]);
}

/**
 * Position ids of the tokens x [B, T, d] of texts that start at `start`, grafts' offset and earlier tokens added: [T], or [B, T] where
 * rows go on from earlier ones.
 * @throws GraftError (65) when they do not fit a table of `rows`
 */
export function positions(f: Forward, x: Tensor, rows: number, start = 0): Tensor {
  const [B, T] = x.shape as number[];
  const first = Array.from({ length: f.past ? B : 1 }, (_, b) => start + f.firstPosition(b)), last = Math.max(...first);
  if (last + T > rows) throw dataError(`${T} tokens (prompts included) do not fit: the model has ${rows - last} positions; give a smaller --max-length`);
  const ids = tf.tensor2d(first.flatMap((p) => Array.from({ length: T }, (_, t) => p + t)), [first.length, T], 'int32');
  return f.past ? ids : tf.reshape(ids, [T]);
}

/** The features at the input's own positions: what stands at prompts is dropped. */
export function features(x: Tensor, { mask, prompts }: Pick<Tokens, 'mask' | 'prompts'>): Features {
  if (prompts === 0) return { hidden: x, mask };
  const [B, T, d] = x.shape as number[];
  return {
    hidden: tf.slice(x, [0, prompts, 0], [B, T - prompts, d]),
    mask: mask && (tf.slice(mask, [0, prompts], [B, T - prompts]) as Tensor2D),
  };
}
