import { attendsApart, embedding, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import type { Forward } from './forward.js';
import type { TextBatch } from './model.js';
import type { AttentionInput, Tokens } from './site.js';

/** How the tokens that blocks compute on lie: padded, or text after text. */
export interface Sequence {
  /** Which keys a query sees. */
  keys: Pick<AttentionInput, 'keyMask' | 'lengths'>;
  /** A table of one row a position, [T, n], as the tokens need it. */
  atPositions(table: Tensor2D): Tensor2D;
}

/** Leaving padding out takes two copies of the hidden states; below this share of padding they do not pay. */
const WORTH = 0.04;

/**
 * Runs a model's blocks over the tokens of a batch alone, [1, N, d], so that nothing is computed for padding; over [B, T, d] where that
 * would gain nothing, or where a graft's change needs to know which row a token is in.
 * @returns [B, T, d]; what stands at padding means nothing
 */
export function withoutPadding(f: Forward, { lengths }: Pick<TextBatch, 'lengths'>, { x, mask }: Pick<Tokens, 'x' | 'mask'>, run: (x: Tensor, sequence: Sequence) => Tensor): Tensor {
  const [B, T] = x.shape as number[];
  const tokens = (lengths ?? []).reduce((a, b) => a + b, 0);
  const gains = lengths && !lengths.includes(0) && tokens <= (1 - WORTH) * B * T;
  if (!gains || !f.tokenwise || !attendsApart()) return run(x, { keys: { keyMask: mask }, atPositions: (table) => table });

  const positions = lengths.flatMap((n) => Array.from({ length: n }, (_, t) => t));
  const texts = lengths.flatMap((n, b) => new Array<number>(n).fill(b));
  const first = lengths.map((_, b) => lengths.slice(0, b).reduce((a, n) => a + n, 0));
  const packed = f.stem(() => rowsOf(x, positions.map((t, i) => texts[i] * T + t), [1, tokens]));
  const y = run(packed, { keys: { keyMask: null, lengths }, atPositions: (table) => rowsOf(table, positions, [tokens]) as Tensor2D });
  return rowsOf(y, lengths.flatMap((n, b) => Array.from({ length: T }, (_, t) => first[b] + Math.min(t, n - 1))), [B, T]);
}

/** Rows of x [..., d] by their number: [...shape, d]. */
function rowsOf(x: Tensor, rows: readonly number[], shape: readonly number[]): Tensor {
  const flat = tf.reshape(x, [-1, x.shape.at(-1)!]) as Tensor2D;
  return embedding(flat, tf.tensor(Int32Array.from(rows), [...shape], 'int32'));
}
