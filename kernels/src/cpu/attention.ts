/** Attention of ops/attention.ts by blocks: forward with the statistics of each row, and the gradients of all three inputs in one pass. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';
import type { Mask } from '../ops/dropout.js';

interface Attrs extends Mask { causal: boolean; scale: number; lengths?: readonly number[]; filled?: readonly number[] }

/** B, Tq, H, width, Tk, Hkv, …; with lengths of texts that stand one after another, B texts of at most T rows and where each begins. */
function geometry(q: TensorInfo, k: TensorInfo, { causal, key0, key1, below, lengths, filled = [] }: Attrs): number[] {
  const [B, Tq, H, width] = q.shape, [, Tk, Hkv] = k.shape, rest = [Number(causal), key0, key1, below];
  if (!lengths) return [B, Tq, H, width, Tk, Hkv, ...rest, 0, ...filled];
  const longest = Math.max(...lengths), starts = [0];
  for (const n of lengths) starts.push(starts.at(-1)! + n);
  if (B !== 1 || Tq !== starts.at(-1) || Tk !== Tq) throw new Error(`attention: texts of ${starts.at(-1)} tokens in q of shape [${q.shape}] and k of [${k.shape}]`);
  return [lengths.length, longest, H, width, longest, Hkv, ...rest, starts.length, ...starts];
}

/** The output and, per row, the maximum of its scores and the sum of their exponentials: B·H·Tq pairs. */
defineKernel<Attrs>('Attention', ({ inputs: { q, k, v, mask }, attrs, backend }) => {
  const [B, Tq, H] = q.shape;
  const out = backend.output(q.shape), stats = backend.output([B, H, Tq, 2]);
  const [hq, hk, hv, ho, hs] = [q, k, v, out, stats].map((t) => backend.handle(t));
  backend.native.attentionForward(hq, hk, hv, mask ? backend.handle(mask) : null, ho, hs, geometry(q, k, attrs), attrs.scale, attrs.keep);
  return [out, stats];
});

defineKernel<Attrs>('AttentionGrad', ({ inputs: { q, k, v, mask, out, stats, dOut }, attrs, backend }) => {
  const gradients = [q, k, v].map((t) => backend.output(t.shape));
  const [hq, hk, hv, ...rest] = [q, k, v, out, stats, dOut, ...gradients].map((t) => backend.handle(t));
  backend.native.attentionGradient(hq, hk, hv, mask ? backend.handle(mask) : null, ...rest, geometry(q, k, attrs), attrs.scale, attrs.keep);
  return gradients;
});
