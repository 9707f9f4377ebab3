import { tf, type Tensor, type Tensor1D, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { dataError } from '../errors.js';
import type { Forward } from './forward.js';
import type { Features } from './model.js';
import type { Tokens } from './site.js';

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
 * Position ids [T] of a sequence that starts at `start`, grafts' offset added.
 * @throws GraftError (65) when they do not fit a table of `rows`
 */
export function positions(f: Forward, length: number, rows: number, start = 0): Tensor1D {
  const first = start + f.positionOffset;
  if (first + length > rows) throw dataError(`${length} tokens (prompts included) do not fit: the model has ${rows - first} positions; give a smaller --max-length`);
  return tf.range(first, first + length, 1, 'int32');
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
