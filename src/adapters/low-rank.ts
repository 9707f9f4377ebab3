import { conv2d, dropout, embedding, linear, lowRank, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import type { Site, SiteCall } from '../models/site.js';
import type { LowRankChange } from './method.js';

/**
 * y = base(x) + s·(B A drop(x) + bias) at a linear, convolution or embedding site: the change rides beside the frozen weight,
 * ΔW is never formed. Dropout acts on the branch's input alone; ids are not dropped.
 */
export function runLowRank(call: SiteCall, change: LowRankChange, rate: number): Tensor {
  const { site, pass } = call;
  const h = call.base(call.x);
  const x = site.kind === 'embedding' || !pass.train ? call.x : dropout(call.x, rate, pass.seed, pass.step, site.name);
  const y = branch(site, h, x, change);
  return change.bias ? tf.add(y, tf.mul(change.bias, change.scale)) : y;
}

function branch(site: Site, h: Tensor, x: Tensor, { A, B, scale }: LowRankChange): Tensor {
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
    const delta = tf.mul(tf.matMul(B, A), scale);
    if (site.kind === 'conv') return tf.reshape(delta, [site.dimOut, site.dimIn, ...site.conv!.kernel]);
    return site.transposed ? tf.transpose(delta) : delta;
  });
}

/** `rows` rows of ΔW from row `from` on, flat, in the layout the checkpoint stores the site's weight in. */
export function deltaRows(site: Site, { A, B, scale }: LowRankChange, from: number, rows: number): Float32Array {
  const delta = tf.tidy(() => {
    const product = site.transposed ? tf.matMul(tf.slice(A, [0, from], [-1, rows]), B, true, true) : tf.matMul(tf.slice(B, [from, 0], [rows, -1]), A);
    return tf.mul(product, scale);
  });
  const values = delta.dataSync() as Float32Array;
  const copy = values.slice();
  delta.dispose();
  return copy;
}
