import { attendsApart, embedding, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import type { Forward } from './forward.js';
import type { TextBatch } from './model.js';
import type { AttentionInput, Tokens } from './site.js';

/** How the tokens that blocks compute on lie: padded, or text after text. */
export interface Sequence {
  /** Which keys a query sees. */
  keys: Pick<AttentionInput, 'keyMask' | 'lengths'>;
  /** The positions that occur … */
  positions: readonly number[];
  /** … and a table of one row for each of them, [P, n], as the tokens need it. */
  atPositions(table: Tensor2D): Tensor2D;
}

/** Leaving padding out takes two copies of the hidden states; below this share of padding they do not pay. */
const WORTH = 0.04;

/**
 * Runs a model's blocks over the tokens of a batch alone, [1, N, d], so that nothing is computed for padding; over [B, T, d] where that
 * would gain nothing, or where a graft's change needs to know which row a token is in. Rows that go on from different lengths of
 * earlier tokens have to lie so.
 * @returns [B, T, d]; what stands at padding means nothing
 */
export function withoutPadding(f: Forward, { lengths }: Pick<TextBatch, 'lengths'>, { x, mask }: Pick<Tokens, 'x' | 'mask'>, run: (x: Tensor, sequence: Sequence) => Tensor): Tensor {
  const [B, T] = x.shape as number[];
  const from = Array.from({ length: B }, (_, b) => f.firstPosition(b));
  const tokens = (lengths ?? []).reduce((a, b) => a + b, 0);
  const gains = lengths && !lengths.includes(0) && tokens <= (1 - WORTH) * B * T && f.tokenwise && attendsApart();
  const uneven = f.past !== null && (from.some((p) => p !== from[0]) || lengths?.some((n) => n !== lengths[0]));
  if (!gains && !uneven) {
    return run(x, { keys: { keyMask: f.past ? null : mask }, positions: Array.from({ length: T }, (_, t) => from[0] + t), atPositions: (table) => table });
  }
  if (!lengths || !f.tokenwise) throw new Error('rows of different lengths, and a change that needs to know which is which');

  const positions = lengths.flatMap((n, b) => Array.from({ length: n }, (_, t) => from[b] + t));
  const first = lengths.map((_, b) => lengths.slice(0, b).reduce((a, n) => a + n, 0));
  const packed = f.stem(() => rowsOf(x, lengths.flatMap((n, b) => Array.from({ length: n }, (_, t) => b * T + t)), [1, tokens]));
  const y = run(packed, { keys: { keyMask: null, lengths }, ...tabulated(positions) });
  return rowsOf(y, lengths.flatMap((n, b) => Array.from({ length: T }, (_, t) => first[b] + Math.min(t, n - 1))), [B, T]);
}

/** Each position that occurs once, for there are tables that are dear to make. */
function tabulated(positions: readonly number[]): Pick<Sequence, 'positions' | 'atPositions'> {
  const distinct = [...new Set(positions)].sort((a, b) => a - b), row = new Map(distinct.map((p, i) => [p, i]));
  return { positions: distinct, atPositions: (table) => rowsOf(table, positions.map((p) => row.get(p)!), [positions.length]) as Tensor2D };
}

/** Rows of x [..., d] by their number: [...shape, d]. */
function rowsOf(x: Tensor, rows: readonly number[], shape: readonly number[]): Tensor {
  const flat = tf.reshape(x, [-1, x.shape.at(-1)!]) as Tensor2D;
  return embedding(flat, tf.tensor(Int32Array.from(rows), [...shape], 'int32'));
}
