/** Attention of ops/attention.ts by blocks: forward with the statistics of each row, and the gradients of all three inputs in one pass. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';
import type { Mask } from '../ops/dropout.js';

interface Attrs extends Mask { causal: boolean; scale: number; lengths?: readonly number[]; queries?: readonly number[]; filled?: readonly number[] }

/** B, Tq, H, width, Tk, Hkv, …; with lengths of texts that stand one after another, B texts of at most Tk keys and where the keys and the queries of each begin. */
function geometry(q: TensorInfo, k: TensorInfo, { causal, key0, key1, below, lengths, queries = lengths, filled = [] }: Attrs): number[] {
  const [B, Tq, H, width] = q.shape, [, Tk, Hkv] = k.shape, rest = [Number(causal), key0, key1, below];
  if (!lengths || !queries) return [B, Tq, H, width, Tk, Hkv, ...rest, 0, ...filled];
  const [starts, queryStarts] = [lengths, queries].map((of) => of.reduce((all, n) => [...all, all.at(-1)! + n], [0]));
  if (B !== 1 || Tk !== starts.at(-1) || Tq !== queryStarts.at(-1)) throw new Error(`attention: texts of ${starts.at(-1)} keys and ${queryStarts.at(-1)} queries in q of shape [${q.shape}] and k of [${k.shape}]`);
  return [lengths.length, Math.max(...queries), H, width, Math.max(...lengths), Hkv, ...rest, starts.length, ...starts, ...queryStarts];
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
