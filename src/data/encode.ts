import { tf, type Tensor2D } from '@graft/kernels';
import type { TextBatch } from '../models/model.js';
import type { Encoded } from './tokenizer.js';

/** Pads to the longest: ids, mask (1 = a token) and segment ids, each [B, T]. */
export function padBatch(texts: readonly Encoded[], padId: number): TextBatch {
  const B = texts.length, T = Math.max(1, ...texts.map((t) => t.ids.length));
  const ids = new Int32Array(B * T).fill(padId), types = new Int32Array(B * T), mask = new Float32Array(B * T);
  texts.forEach((t, b) => {
    ids.set(t.ids, b * T);
    types.set(t.types, b * T);
    mask.fill(1, b * T, b * T + t.ids.length);
  });
  return { kind: 'text', ids: tf.tensor2d(ids, [B, T], 'int32'), types: tf.tensor2d(types, [B, T], 'int32') as Tensor2D, mask: tf.tensor2d(mask, [B, T]), lengths: texts.map((t) => t.ids.length) };
}

export function disposeBatch(batch: { [key: string]: unknown }): void {
  for (const value of Object.values(batch)) if (value instanceof tf.Tensor) value.dispose();
}
