// The gradients of attention: the scores are formed again, once by blocks of queries for dq, once by blocks of keys for dk and dv, so that
// every sum is taken in one place and in one order.
#pragma once

#include "attention.cuh"

template <class M, int W, int warps, int rows>
inline void attendedQueries(const float* q, const float* k, const float* v, const float* bias, const float* stats, const float* dots, const float* dOut, float* dq,
                            const Text* texts, const Heads& h) {
  DYNAMIC_SHARED(typename M::Element, memory);
  constexpr int kQueries = warps * 16, N = rows / 8, row = rowLength(W, sizeof(typename M::Element));
  typename M::Element *sq = memory, *sd = sq + kQueries * row, *sk = sd + kQueries * row, *sv = sk + rows * row;
  const Part part(h, texts, bias, kQueries);
  const Text& text = part.text;
  const Lane& lane = part.lane;
  const int first = part.first, keys = part.keysSeen(kQueries);
  if (first >= text.queries) return;
  part.loadQueries<M, W>(q, first, part.head, kQueries, sq);
  part.loadQueries<M, W>(dOut, first, part.head, kQueries, sd);
  const Index firstRow = part.row(first, part.head);
  float top[2], inverse[2], dot[2];
  uint32_t hashes[2];
  for (int r = 0; r < 2; r++) {
    const Index i = firstRow + lane.row(2 * r);
    const bool inside = first + lane.row(2 * r) < text.queries;
    top[r] = inside ? stats[i * 2] : 0;
    inverse[r] = inside ? 1 / stats[i * 2 + 1] : 0;
    dot[r] = inside ? dots[i] : 0;
    hashes[r] = rowHash(h, i);
  }
  float g[W / 8][4] = {};
  for (int j0 = 0; j0 < keys; j0 += rows) {
    part.loadNext<M, W>(k, v, j0, rows, sk, sv);
    float s[N][4] = {}, dp[N][4] = {};
    M::template multiplyRows<W, N>(s, sq, sk, h.width, lane);
    M::template multiplyRows<W, N>(dp, sd, sv, h.width, lane);
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int key = j0 + n * 8 + lane.column(e), r = e / 2;
        const float p = M::exponential(s[n][e] * h.scale + part.masking(first + lane.row(e), key) - top[r]) * inverse[r];
        s[n][e] = p * ((kept(h, hashes[r], key) ? dp[n][e] * h.keep : 0.f) - dot[r]);
      }
    M::template accumulateRows<W, N>(g, s, sk, h.width, lane);
  }
#pragma unroll
  for (int d = 0; d < W / 8; d++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int column = d * 8 + lane.column(e), i = first + lane.row(e);
      if (i < text.queries && column < h.width) dq[part.query(i, part.head) + column] = g[d][e] * h.scale;
    }
}

/** Rows are keys here, columns queries; the heads that share a key's head follow one another. */
template <class M, int W, int warps, int rows>
inline void attendedKeys(const float* q, const float* k, const float* v, const float* bias, const float* stats, const float* dots, const float* dOut, float* dk, float* dv,
                         const Text* texts, const Heads& h) {
  DYNAMIC_SHARED(typename M::Element, memory);
  constexpr int kKeys = warps * 16, N = rows / 8, row = rowLength(W, sizeof(typename M::Element));
  typename M::Element *sk = memory, *sv = sk + kKeys * row, *sq = sv + kKeys * row, *sd = sq + rows * row;
  SHARED(float, tops, rows);
  SHARED(float, inverses, rows);
  SHARED(float, products, rows);
  SHARED(uint32_t, hashes, rows);
  const Part part(h, texts, bias, kKeys);
  const Text& text = part.text;
  const Lane& lane = part.lane;
  const int first = part.first, group = h.H / h.Hkv;
  if (first >= text.keys) return;
  part.loadKeys<M, W>(k, first, part.head, kKeys, sk);
  part.loadKeys<M, W>(v, first, part.head, kKeys, sv);
  float gk[W / 8][4] = {}, gv[W / 8][4] = {};
  for (int head = part.head * group; head < (part.head + 1) * group; head++)
    for (int i0 = 0; i0 < text.queries; i0 += rows) {
      if (part.passesOver(i0) && i0 + rows - 1 + text.keys - text.queries < first) continue;
      const Index firstRow = part.row(i0, head);
      __syncthreads();
      part.loadQueries<M, W>(q, i0, head, rows, sq);
      part.loadQueries<M, W>(dOut, i0, head, rows, sd);
      for (int i = int(threadIdx.x); i < rows; i += int(blockDim.x)) {
        const bool inside = i0 + i < text.queries;
        tops[i] = inside ? stats[(firstRow + i) * 2] : 0;
        inverses[i] = inside ? 1 / stats[(firstRow + i) * 2 + 1] : 0;
        products[i] = inside ? dots[firstRow + i] : 0;
        hashes[i] = rowHash(h, firstRow + i);
      }
      __syncthreads();
      float s[N][4] = {}, dp[N][4] = {};
      M::template multiplyRows<W, N>(s, sk, sq, h.width, lane);
      M::template multiplyRows<W, N>(dp, sv, sd, h.width, lane);
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int i = n * 8 + lane.column(e), key = first + lane.row(e);
          const float p = M::exponential(s[n][e] * h.scale + part.masking(i0 + i, key) - tops[i]) * inverses[i];
          const bool stays = kept(h, hashes[i], key);
          s[n][e] = stays ? p * h.keep : 0.f;
          dp[n][e] = p * ((stays ? dp[n][e] * h.keep : 0.f) - products[i]);
        }
      M::template accumulateRows<W, N>(gv, s, sd, h.width, lane);
      M::template accumulateRows<W, N>(gk, dp, sq, h.width, lane);
    }
#pragma unroll
  for (int d = 0; d < W / 8; d++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int column = d * 8 + lane.column(e), j = first + lane.row(e);
      if (j >= text.keys || column >= h.width) continue;
      dk[part.key(j, part.head) + column] = gk[d][e] * h.scale;
      dv[part.key(j, part.head) + column] = gv[d][e];
    }
}

#define ATTENTION_GRADIENT_KERNEL(queries, keys, M, tiles)                                                                        \
  GRAFT_BY_WIDTH(queries, M, tiles, attendedQueries, GRAFT_FOR_QUERIES, q, k, v, bias, stats, dots, dOut, dq, texts, h)          \
  GRAFT_BY_WIDTH(keys, M, tiles, attendedKeys, GRAFT_FOR_KEYS, q, k, v, bias, stats, dots, dOut, dk, dv, texts, h)
#define GRAFT_GIVEN const float *q, const float *k, const float *v, const float *bias, const float *stats, const float *dots, const float *dOut
#define GRAFT_FOR_QUERIES GRAFT_GIVEN, float *dq, const Text *texts, Heads h
#define GRAFT_FOR_KEYS GRAFT_GIVEN, float *dk, float *dv, const Text *texts, Heads h
