import * as tf from '@tensorflow/tfjs-core';

export interface AttentionOptions {
  /** [B, Tk]: 1 where the key may be attended to, 0 where it may not (padding). */
  keyMask?: tf.Tensor2D | null;
  /** Query i sees keys up to i + (Tk - Tq): the last query sees everything. */
  causal?: boolean;
  /** Default 1/√dh. */
  scale?: number;
}

/**
 * Scaled dot-product attention. q: [B, Tq, H, dh]; k, v: [B, Tk, Hkv, dh] with H a multiple of Hkv (grouped-query:
 * head h reads key head ⌊h·Hkv/H⌋). Returns [B, Tq, H, dh]. The layout is what the projections write, so nothing is transposed.
 */
export function attention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: AttentionOptions = {}): tf.Tensor4D {
  const [B, Tq, H, dh] = q.shape;
  const [, Tk, Hkv] = k.shape;
  const scale = options.scale ?? 1 / Math.sqrt(dh);
  const heads = (t: tf.Tensor4D): tf.Tensor4D => {
    const th = tf.transpose(t, [0, 2, 1, 3]);
    if (Hkv === H || t === q) return th;
    // In four dimensions: TensorFlow.js has no gradient for tiling five.
    const wide = tf.tile(tf.reshape(th, [B * Hkv, 1, Tk, dh]), [1, H / Hkv, 1, 1]);
    return tf.reshape(wide, [B, H, Tk, dh]);
  };
  let scores = tf.mul(tf.matMul(heads(q), heads(k), false, true), scale) as tf.Tensor4D;
  if (options.keyMask) scores = tf.add(scores, tf.reshape(tf.mul(tf.sub(1, options.keyMask), MASKED), [B, 1, 1, Tk]));
  if (options.causal) scores = tf.add(scores, causalMask(Tq, Tk));
  return tf.transpose(tf.matMul(tf.softmax(scores), heads(v)), [0, 2, 1, 3]) as tf.Tensor4D;
}

/** Large enough to vanish in the softmax, small enough that a row masked throughout stays finite. */
const MASKED = -1e9;

function causalMask(Tq: number, Tk: number): tf.Tensor2D {
  const values = new Float32Array(Tq * Tk);
  for (let i = 0; i < Tq; i++) values.fill(MASKED, i * Tk + Math.min(Tk, i + Tk - Tq + 1), (i + 1) * Tk);
  return tf.tensor2d(values, [Tq, Tk]);
}
