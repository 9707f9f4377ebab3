import { conv2d, dropout, embedding, linear, lowRank, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import type { Site, SiteCall } from '../models/site.js';
import type { LowRankChange } from './method.js';

/**
 * y = base(x) + s·(B A drop(x) + bias) at a linear, convolution or embedding site: the change rides beside the frozen weight,
 * ΔW is never formed. Dropout acts on the branch's input alone; ids are not dropped.
 */
export function runLowRank(call: SiteCall, change: LowRankChange, rate: number): Tensor {
  const y = addLowRank(call.site, call.base(call.x), dropped(call, rate), change);
  return change.bias ? tf.add(y, tf.mul(change.bias, change.scale)) : y;
}

/** The input of a branch beside the frozen weight: in training with dropout, except at embeddings. */
export const dropped = ({ site, x, pass }: SiteCall, rate: number): Tensor =>
  (site.kind === 'embedding' || !pass.train || rate === 0 ? x : dropout(x, rate, pass.seed, pass.step, site.name));

/** h + s·B A x; a rank of zero adds nothing. */
export function addLowRank(site: Site, h: Tensor, x: Tensor, { A, B, scale }: LowRankChange): Tensor {
  if (A.shape[0] === 0) return h;
  if (site.kind === 'linear') return lowRank(h, x, A, B, scale);
  if (site.kind === 'embedding') return tf.add(h, tf.mul(linear(embedding(B, x), A, null, { layout: 'io' }), scale));
  // A convolves to r channels with the site's own window, B is the 1×1 convolution back: both are rows of channels here.
  const { kernel, stride, padding } = site.conv!;
  const z = conv2d(x as Tensor4D, tf.reshape(A, [A.shape[0], site.dimIn, ...kernel]) as Tensor4D, null, { stride, padding });
  return lowRankUp(h, z, B, scale);
}

const lowRankUp = (h: Tensor, z: Tensor, B: Tensor2D, scale: number): Tensor => tf.add(h, tf.mul(linear(z, B), scale));

/** ΔW = s·B A in the layout the checkpoint stores the site's weight in. */
export function weightDelta(site: Site, { A, B, scale }: LowRankChange): Tensor {
  return tf.tidy(() => {
    const delta = A.shape[0] === 0 ? tf.zeros([B.shape[0], A.shape[1]]) : tf.mul(tf.matMul(B, A), scale);
    return site.kind === 'embedding' ? delta : asStored(site, delta);
  });
}

/** A matrix [out, in·kh·kw] in the layout the checkpoint stores the site's weight in. */
export function asStored(site: Site, matrix: Tensor): Tensor {
  if (site.kind === 'conv') return tf.reshape(matrix, [site.dimOut, site.dimIn, ...site.conv!.kernel]);
  return inputFirst(site) ? tf.transpose(matrix) : matrix;
}

/** The other way round. */
export function asMatrix(site: Site, stored: Tensor): Tensor {
  if (site.kind === 'conv') return tf.reshape(stored, [site.dimOut, -1]);
  return site.transposed ? tf.transpose(stored) : stored;
}

/** The stored weight has its inputs along the first axis: [in, out], or a table [V, d]. */
export const inputFirst = (site: Site): boolean => site.kind === 'embedding' || site.transposed === true;

/** A vector over the site's outputs, in a shape that spreads over the stored weight. */
export const overOutputs = (site: Site, v: Tensor): Tensor => tf.reshape(v, inputFirst(site) ? [1, site.dimOut] : [site.dimOut, 1, ...(site.conv ? [1, 1] : [])]);

/** A vector over its inputs, likewise. */
export const overInputs = (site: Site, v: Tensor): Tensor => tf.reshape(v, inputFirst(site) ? [site.dimIn, 1] : [1, site.dimIn, ...(site.conv ? [1, 1] : [])]);

/** `rows` rows of ΔW from row `from` on, flat, in the layout the checkpoint stores the site's weight in. */
export function deltaRows(site: Site, { A, B, scale }: LowRankChange, from: number, rows: number): Float32Array {
  if (A.shape[0] === 0) return new Float32Array(rows * (site.transposed ? B.shape[0] : A.shape[1]));
  const delta = tf.tidy(() => {
    const product = site.transposed ? tf.matMul(tf.slice(A, [0, from], [-1, rows]), B, true, true) : tf.matMul(tf.slice(B, [from, 0], [rows, -1]), A);
    return tf.mul(product, scale);
  });
  const values = delta.dataSync() as Float32Array;
  const copy = values.slice();
  delta.dispose();
  return copy;
}
