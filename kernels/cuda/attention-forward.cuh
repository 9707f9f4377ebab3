// Attention with a running softmax (Dao, 2023): a block has 16 queries a warp in shared memory and goes through tiles of keys and values.
#pragma once

#include "attention.cuh"

template <class M, int W, int warps, int rows>
inline void attend(const float* q, const float* k, const float* v, const float* bias, float* out, float* stats, const Text* texts, const Heads& h) {
  DYNAMIC_SHARED(typename M::Element, memory);
  constexpr int kQueries = warps * 16, N = rows / 8, row = rowLength(W, sizeof(typename M::Element));
  typename M::Element *sq = memory, *sk = sq + kQueries * row, *sv = sk + rows * row;
  const Part part(h, texts, bias, kQueries);
  const Text& text = part.text;
  const Lane& lane = part.lane;
  const int first = part.first, keys = part.keysSeen(kQueries);
  if (first >= text.queries) return;
  part.loadQueries<M, W>(q, first, part.head, kQueries, sq);
  const Index firstRow = part.row(first, part.head);
  const uint32_t hashes[2] = {rowHash(h, firstRow + lane.row(0)), rowHash(h, firstRow + lane.row(2))};
  float o[W / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  for (int j0 = 0; j0 < keys; j0 += rows) {
    part.loadNext<M, W>(k, v, j0, rows, sk, sv);
    float s[N][4] = {};
    M::template multiplyRows<W, N>(s, sq, sk, h.width, lane);
    float most[2] = {top[0], top[1]};
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        s[n][e] = s[n][e] * h.scale + part.masking(first + lane.row(e), j0 + n * 8 + lane.column(e));
        most[e / 2] = Larger()(most[e / 2], s[n][e]);
      }
#pragma unroll
    for (int r = 0; r < 2; r++) {  // four lanes share a row
      most[r] = Larger()(most[r], __shfl_xor_sync(kAll, most[r], 1));
      most[r] = Larger()(most[r], __shfl_xor_sync(kAll, most[r], 2));
      const float factor = M::exponential(top[r] - most[r]);
      top[r] = most[r];
      total[r] *= factor;
#pragma unroll
      for (int d = 0; d < W / 8; d++) o[d][2 * r] *= factor, o[d][2 * r + 1] *= factor;
    }
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const float p = M::exponential(s[n][e] - top[e / 2]);
        total[e / 2] += p;
        s[n][e] = kept(h, hashes[e / 2], j0 + n * 8 + lane.column(e)) ? p : 0.f;
      }
    M::template accumulateRows<W, N>(o, s, sv, h.width, lane);
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    total[r] += __shfl_xor_sync(kAll, total[r], 1);
    total[r] += __shfl_xor_sync(kAll, total[r], 2);
    const int i = lane.row(2 * r);
    if (first + i >= text.queries) continue;
    const float scale = h.keep / total[r];
    const Index at = part.query(first + i, part.head);
    if (lane.t == 0) {
      stats[(firstRow + i) * 2] = top[r];
      stats[(firstRow + i) * 2 + 1] = total[r];
    }
#pragma unroll
    for (int d = 0; d < W / 8; d++)
#pragma unroll
      for (int e = 2 * r; e < 2 * r + 2; e++) {
        const int column = d * 8 + lane.column(e);
        if (column < h.width) out[at + column] = o[d][e] * scale;
      }
  }
}

#define ATTENTION_KERNEL(name, M, tiles)                                                                                                        \
  GRAFT_BY_WIDTH(name, M, tiles, attend, GRAFT_ATTENTION_PARAMETERS, q, k, v, bias, out, stats, texts, h)
#define GRAFT_ATTENTION_PARAMETERS const float *q, const float *k, const float *v, const float *bias, float *out, float *stats, const Text *texts, Heads h
