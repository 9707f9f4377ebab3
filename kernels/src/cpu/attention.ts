/** Attention of ops/attention.ts by blocks: forward with the statistics of each row, and the gradients of all three inputs in one pass. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { defineKernel } from '../backend.js';
import type { Mask } from '../ops/dropout.js';

interface Attrs extends Mask { causal: boolean; scale: number }

const geometry = (q: TensorInfo, k: TensorInfo, { causal, key0, key1, below }: Attrs): number[] => [...q.shape, k.shape[1], k.shape[2], Number(causal), key0, key1, below];

/** The output and, per row, the maximum of its scores and the sum of their exponentials: [B, H, Tq, 2]. */
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
