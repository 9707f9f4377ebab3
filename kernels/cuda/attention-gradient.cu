// The gradients of attention in single precision, and what both of its parts start from.
#include "attention-gradient.cuh"

/** dots[row] = Σ out dOut of a query's head: a warp a row, rows text by text and head by head. Blocks: [queries / 8, H, texts]. */
KERNEL(256, attentionDots, const float* out, const float* dOut, float* dots, const Text* texts, Heads h) {
  const Part part(h, texts, nullptr, 8);
  const int i = part.first + part.lane.warp;
  if (i >= part.text.queries) return;
  const Index at = part.query(i, part.head);
  float sum = 0;
  for (int d = int(threadIdx.x & 31); d < h.width; d += 32) sum += out[at + d] * dOut[at + d];
  sum = overWarp(sum, Add());
  if ((threadIdx.x & 31) == 0) dots[part.row(i, part.head)] = sum;
}

ATTENTION_GRADIENT_KERNEL(attentionQueries, attentionKeys, Single, kGradientTiles)
