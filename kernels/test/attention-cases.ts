/** What attention is tested on: shapes, masks, grouped heads, dropped weights, texts one after another, rows with room. */
import { attention, dropoutMask, tf, type Tensor2D, type Tensor4D } from '../src/index.js';
import { data, random, type Data } from './against.js';

export interface Case { B: number; Tq: number; Tk: number; H: number; Hkv: number; dh: number; causal?: boolean; mask?: number[][]; scale?: number; rate?: number; lengths?: number[]; queries?: number[]; filled?: number[] }

export const padded = (...lengths: number[]) => (Tk: number): number[][] => lengths.map((n) => Array.from({ length: Tk }, (_, j) => Number(j < n)));

const sum = (lengths: number[]): number => lengths.reduce((a, b) => a + b, 0);
export const ragged = (lengths: number[], c: Omit<Case, 'B' | 'Tq' | 'Tk'>): Case => ({ B: 1, Tq: sum(c.queries ?? lengths), Tk: sum(lengths), lengths, ...c });

export const CASES: Case[] = [
  { B: 2, Tq: 5, Tk: 5, H: 3, Hkv: 3, dh: 8 },
  { B: 1, Tq: 1, Tk: 1, H: 1, Hkv: 1, dh: 1 },
  { B: 2, Tq: 7, Tk: 9, H: 2, Hkv: 2, dh: 32, mask: padded(9, 4)(9) },
  { B: 1, Tq: 130, Tk: 140, H: 2, Hkv: 1, dh: 17, causal: true },
  { B: 2, Tq: 60, Tk: 300, H: 2, Hkv: 2, dh: 24, mask: padded(150, 300)(300), scale: 0.3 },
  { B: 2, Tq: 150, Tk: 150, H: 4, Hkv: 2, dh: 16, causal: true, mask: padded(150, 70)(150) },
  { B: 1, Tq: 1, Tk: 33, H: 4, Hkv: 2, dh: 64, causal: true },
  { B: 1, Tq: 12, Tk: 5, H: 1, Hkv: 1, dh: 40, causal: true },
  { B: 2, Tq: 60, Tk: 150, H: 4, Hkv: 2, dh: 12, causal: true, mask: padded(150, 120)(150), rate: 0.3 },
  { B: 3, Tq: 7, Tk: 7, H: 2, Hkv: 2, dh: 8, rate: 0.5 },
  { B: 1, Tq: 70, Tk: 140, H: 2, Hkv: 1, dh: 32, mask: padded(137)(140) }, { B: 1, Tq: 66, Tk: 130, H: 1, Hkv: 1, dh: 32, rate: 0.2 },
  ragged([3, 1, 8], { H: 2, Hkv: 2, dh: 8 }), ragged([130, 2, 60, 57], { H: 4, Hkv: 2, dh: 16, causal: true, scale: 0.3 }),
  ragged([5, 9, 2], { H: 4, Hkv: 2, dh: 8, rate: 0.4 }), ragged([70], { H: 1, Hkv: 1, dh: 32 }),
  ragged([9, 130, 4], { H: 4, Hkv: 2, dh: 16, queries: [1, 1, 1] }), ragged([60, 150, 3, 7], { H: 2, Hkv: 2, dh: 20, queries: [59, 4, 0, 7], rate: 0.4 }),
  ragged([5, 12], { H: 2, Hkv: 1, dh: 8, queries: [1, 6], causal: true }),
];

/** Left padding: early queries of a causal head see masked keys only; and an example without a single key. */
export const HIDDEN: Case[] = [
  { B: 2, Tq: 140, Tk: 140, H: 1, Hkv: 1, dh: 8, causal: true, mask: [Array.from({ length: 140 }, (_, j) => Number(j >= 60)), Array.from({ length: 140 }, () => 0)] },
  { B: 1, Tq: 3, Tk: 4, H: 2, Hkv: 2, dh: 8, mask: [[0, 0, 0, 0]] },
];

export const inputs = ({ B, Tq, Tk, H, Hkv, dh }: Case): Data[] => [
  random([B, Tq, H, dh]), random([B, Tk, Hkv, dh], 'float32', 1.2), random([B, Tk, Hkv, dh], 'float32', 0.8)];

export const run = ({ B, Tk, mask, causal, scale, rate = 0, lengths, queries, filled }: Case) => (...[q, k, v]: tf.Tensor[]): Tensor4D => {
  const keyMask = mask ? (tf.tensor(data(mask.flat()).values, [B, Tk]) as Tensor2D) : null;
  return attention(q as Tensor4D, k as Tensor4D, v as Tensor4D, { keyMask, causal, lengths, queries, filled, dropout: dropoutMask(rate, 'weights', 1), ...(scale && { scale }) });
};

export const name = ({ mask, ...c }: Case): string => `${JSON.stringify(c)}${mask ? ' masked' : ''}`;

/** Rows whose keys are not all there. */
export const ROOM: Case[] = [
  { B: 3, Tq: 1, Tk: 40, H: 4, Hkv: 2, dh: 20, filled: [1, 40, 33], causal: true },
  { B: 2, Tq: 1, Tk: 300, H: 2, Hkv: 2, dh: 64, filled: [299, 130], causal: true },
  { B: 2, Tq: 6, Tk: 20, H: 2, Hkv: 1, dh: 8, filled: [6, 17], causal: true },
  { B: 2, Tq: 3, Tk: 9, H: 2, Hkv: 2, dh: 9, filled: [5, 9] },
];
