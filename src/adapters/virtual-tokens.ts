import { tf, type Tensor, type Tensor2D } from '@graft/kernels';

/** P [n, ...rest] put before every row of x along axis 1: [B, T, ...rest] → [B, n + T, ...rest]. */
export function beforeEach(x: Tensor, P: Tensor): Tensor {
  const B = x.shape[0];
  return tf.concat([tf.tile(tf.expandDims(P, 0), [B, ...P.shape.map(() => 1)]), x], 1);
}

/** A mask [B, T] with n positions before it that count: [B, n + T]. */
export const onesBefore = (mask: Tensor2D, n: number): Tensor2D => tf.concat([tf.ones([mask.shape[0], n]), mask], 1) as Tensor2D;
