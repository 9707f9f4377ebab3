import { attendsApart, embedding, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import type { Forward } from './forward.js';
import type { Features, Reads, TextBatch } from './model.js';
import type { AttentionInput, Tokens } from './site.js';
import { features } from './transformer.js';

/** How the tokens that blocks compute on lie: padded, or text after text. */
export interface Sequence {
  /** Which keys a query sees. */
  keys: Pick<AttentionInput, 'keyMask' | 'lengths' | 'queries'>;
  /** The positions that occur … */
  positions: readonly number[];
  /** … and a table of one row for each of them, [P, n], as the tokens need it. */
  atPositions(table: Tensor2D): Tensor2D;
  /** Of tokens [B, T, d] those whose outputs are read after a block: x itself but in the last. */
  read(x: Tensor): Tensor;
}

/** Leaving padding out takes two copies of the hidden states; below this share of padding they do not pay. */
const WORTH = 0.04;

/**
 * Runs a model's blocks over the tokens of a batch. They lie one after another, [1, N, d], so that nothing is computed for padding;
 * as [B, T, d] where that would gain nothing, or where a graft's change needs to know which row a token is in. Rows that go on from
 * different lengths of earlier tokens have to lie so.
 * Of the last block keys and values are computed for all tokens, and the rest for those alone that `reads` asks for.
 * @param run x through the blocks: all but the last over `sequence`, the last over `last`
 * @returns [B, T, d] where everything is read; what stands at padding means nothing
 */
export function overSequence(f: Forward, { lengths }: Pick<TextBatch, 'lengths'>, tokens: Tokens, reads: Reads | undefined, run: (x: Tensor, sequence: Sequence, last: Sequence) => Tensor): Features {
  const { x, mask } = tokens;
  const [B, T] = x.shape as number[];
  const from = Array.from({ length: B }, (_, b) => f.firstPosition(b));
  const count = sum(lengths ?? []);
  const gains = lengths && !lengths.includes(0) && count <= (1 - WORTH) * B * T && f.tokenwise && attendsApart();
  const uneven = f.past !== null && (from.some((p) => p !== from[0]) || lengths?.some((n) => n !== lengths[0]));
  if (!gains && !uneven) {
    const whole: Sequence = { keys: { keyMask: f.past ? null : mask }, positions: Array.from({ length: T }, (_, t) => from[0] + t), atPositions: (table) => table, read: (x) => x };
    const rows = f.narrows && reads === 'first' ? lengthsOf(B, 1) : f.narrows && reads === 'last' && lengths && !lengths.includes(0) ? lengths : null;
    if (!rows) return features(run(x, whole, whole), tokens);
    return read(run(x, whole, { ...whole, read: (x) => rowsOf(x, rows.map((n, b) => b * T + n - 1), [B, 1]) }));
  }
  if (!lengths || !f.tokenwise) throw new Error('rows of different lengths, and a change that needs to know which is which');

  const positions = lengths.flatMap((n, b) => Array.from({ length: n }, (_, t) => from[b] + t));
  const first = startsOf(lengths);
  const packed = f.stem(() => rowsOf(x, lengths.flatMap((n, b) => Array.from({ length: n }, (_, t) => b * T + t)), [1, count]));
  const whole: Sequence = { keys: { keyMask: null, lengths }, ...tabulated(positions), read: (x) => x };
  const wanted = reads && f.narrows ? wantedOf(reads, lengths, T) : null;
  if (!wanted) {
    const y = run(packed, whole, whole);
    return features(rowsOf(y, lengths.flatMap((n, b) => Array.from({ length: T }, (_, t) => first[b] + Math.min(t, n - 1))), [B, T]), tokens);
  }
  const rows = wanted.flatMap((at, b) => at.map((t) => first[b] + t));
  const y = run(packed, whole, { ...whole, keys: { ...whole.keys, queries: wanted.map((at) => at.length) }, read: (x) => rowsOf(x, rows, [1, rows.length]) });
  return read(typeof reads === 'string' ? tf.reshape(y, [B, 1, -1]) : y);
}

/** What a causal model can leave the rest of its tokens out for: attention takes the last query to see every key. */
export const atEnd = (reads: Reads | undefined): Reads | undefined => (reads === 'last' ? reads : undefined);

const read = (hidden: Tensor): Features => ({ hidden, mask: null, read: true });

/** By text, the tokens that are read; null where they do not come in the order of the tokens. */
function wantedOf(reads: Reads, lengths: readonly number[], T: number): number[][] | null {
  if (reads === 'first') return lengths.map(() => [0]);
  if (reads === 'last') return lengths.map((n) => [n - 1]);
  const wanted = lengths.map((): number[] => []);
  const ordered = reads.every((p, i) => i === 0 || p > reads[i - 1]);
  for (const p of reads) wanted[Math.floor(p / T)].push(p % T);
  return ordered && wanted.every((at, b) => at.every((t) => t < lengths[b])) ? wanted : null;
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

const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
const lengthsOf = (B: number, n: number): number[] => new Array<number>(B).fill(n);

function startsOf(lengths: readonly number[]): number[] {
  let next = 0;
  return lengths.map((n) => (next += n) - n);
}
