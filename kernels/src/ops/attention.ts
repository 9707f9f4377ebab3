import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, runKernel, withGradient } from '../fused.js';
import { NOTHING, rowFactors, type Mask } from './dropout.js';

export interface AttentionOptions {
  /** [B, Tk]: 1 where the key may be attended to, 0 where it may not (padding). */
  keyMask?: tf.Tensor2D | null;
  /** Query i sees keys up to i + (Tk - Tq): the last query sees everything. */
  causal?: boolean;
  /** Default 1/√dh. */
  scale?: number;
  /** Dropout of the attention weights, by the row (b, h, i) and the key: see dropoutMask. */
  dropout?: Mask | null;
  /** Texts of these lengths stand one after another in q, k and v, [1, Σ lengths, H, dh]; each sees itself alone. No keyMask then. */
  lengths?: readonly number[];
  /** Of texts one after another only so many queries each, perhaps none, q: [1, Σ queries, H, dh]. */
  queries?: readonly number[];
  /** Only so many of each row's Tk keys are there, one number a row; what lies beyond is room for more. No keyMask then, and no gradient. */
  filled?: readonly number[];
}

/**
 * Scaled dot-product attention. q: [B, Tq, H, dh]; k, v: [B, Tk, Hkv, dh] with H a multiple of Hkv (grouped-query:
 * head h reads key head ⌊h·Hkv/H⌋). Returns [B, Tq, H, dh]. The layout is what the projections write, so nothing is transposed.
 */
export function attention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: AttentionOptions = {}): tf.Tensor4D {
  const { keyMask: mask = null, causal = false, scale = 1 / Math.sqrt(q.shape[3]), dropout, lengths, queries, filled } = options;
  if (!hasKernel('Attention')) {
    if (filled) return ofFilled(q, k, v, { ...options, scale }, filled);
    return lengths ? apart(q, k, v, { ...options, scale }, lengths, queries) : reference(q, k, v, { ...options, scale });
  }
  const attrs = { causal, scale, ...(lengths && { lengths, ...(queries && { queries }) }), ...(filled && { filled }), ...(dropout ?? NOTHING) };
  if (filled) return runKernel<tf.Tensor[]>('Attention', { q, k, v }, attrs)[0] as tf.Tensor4D;
  return withGradient<tf.Tensor4D>(
    { q, k, v },
    (save) => {
      const [out, stats] = runKernel<tf.Tensor[]>('Attention', { q, k, v, mask }, attrs);
      save([q, k, v, out, stats, ...(mask ? [mask] : [])]);
      return out as tf.Tensor4D;
    },
    (dOut, [q, k, v, out, stats, mask]) => {
      const [dq, dk, dv] = runKernel<tf.Tensor[]>('AttentionGrad', { q, k, v, mask, out, stats, dOut }, attrs);
      return { q: () => dq, k: () => dk, v: () => dv };
    },
  );
}

/** Whether texts one after another cost only what they hold; where they do not, padding is better. */
export const attendsApart = (): boolean => hasKernel('Attention');

/** Text by text; rows of dropped weights are counted on from one to the next. */
function apart(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: AttentionOptions & { scale: number }, lengths: readonly number[], queries = lengths): tf.Tensor4D {
  let keys = 0, before = 0;
  return tf.concat(lengths.flatMap((n, b) => {
    const own = tf.slice(q, [0, before, 0, 0], [1, queries[b], -1, -1]);
    const [y, z] = [k, v].map((t) => tf.slice(t, [0, keys, 0, 0], [1, n, -1, -1]));
    const row = before * q.shape[2];
    keys += n;
    before += queries[b];
    return queries[b] > 0 ? [reference(own, y, z, options, row)] : [];
  }), 1) as tf.Tensor4D;
}

/** Row by row, over the keys that are there. */
function ofFilled(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: AttentionOptions & { scale: number }, filled: readonly number[]): tf.Tensor4D {
  return tf.concat(filled.map((n, b) => {
    const [keys, values] = [k, v].map((t) => tf.slice(t, [b, 0, 0, 0], [1, n, -1, -1]));
    return reference(tf.slice(q, [b, 0, 0, 0], [1, -1, -1, -1]), keys, values, options);
  })) as tf.Tensor4D;
}

function reference(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, { keyMask: mask, causal, scale, dropout }: AttentionOptions & { scale: number }, firstRow = 0): tf.Tensor4D {
  const [B, Tq, H] = q.shape;
  const [, Tk, Hkv] = k.shape;
  const keyHead = Int32Array.from({ length: H }, (_, h) => Math.floor(h * Hkv / H));
  const heads = (t: tf.Tensor4D): tf.Tensor4D => {
    const perHead = tf.transpose(t, [0, 2, 1, 3]) as tf.Tensor4D;
    return t.shape[2] === H ? perHead : tf.gather(perHead, keyHead, 1);
  };
  let scores = tf.mul(tf.matMul(heads(q), heads(k), false, true), scale) as tf.Tensor4D;
  if (mask) scores = tf.add(scores, tf.reshape(tf.mul(tf.sub(1, mask), MASKED), [B, 1, 1, Tk]));
  if (causal) scores = tf.add(scores, causalMask(Tq, Tk));
  const weights = tf.softmax(scores);
  const kept = dropout ? tf.mul(weights, tf.tensor(rowFactors(firstRow, B * H * Tq, Tk, dropout), weights.shape)) : weights;
  return tf.transpose(tf.matMul(kept, heads(v)), [0, 2, 1, 3]) as tf.Tensor4D;
}

/** Large enough to vanish in the softmax, small enough that a row masked throughout stays finite. */
const MASKED = -1e9;

function causalMask(Tq: number, Tk: number): tf.Tensor2D {
  const values = new Float32Array(Tq * Tk);
  for (let i = 0; i < Tq; i++) values.fill(MASKED, i * Tk + Math.min(Tk, i + Tk - Tq + 1), (i + 1) * Tk);
  return tf.tensor2d(values, [Tq, Tk]);
}
