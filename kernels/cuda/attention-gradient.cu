// The gradients of attention: the scores are formed again, once by blocks of queries for dq, once by blocks of keys for dk and dv, so that
// every sum is taken in one place and in one order.
#include "attention.cuh"

/** dots[row] = Σ out dOut of a query's head: a warp a row, rows text by text and head by head. Blocks: [queries / 8, H, texts]. */
KERNEL(256, attentionDots, const float* out, const float* dOut, float* dots, const Text* texts, Heads h) {
  const Text text = texts[blockIdx.z];
  const int i = int(blockIdx.x) * 8 + int(threadIdx.x >> 5), head = int(blockIdx.y);
  if (i >= text.queries) return;
  const Index at = ((text.queriesBefore + i) * h.H + head) * h.width;
  float sum = 0;
  for (int d = int(threadIdx.x & 31); d < h.width; d += 32) sum += out[at + d] * dOut[at + d];
  sum = overWarp(sum, Add());
  if ((threadIdx.x & 31) == 0) dots[firstRow(h, text, head) + i] = sum;
}

template <int W, int warps, int rows>
inline void queries(const float* q, const float* k, const float* v, const float* bias, const float* stats, const float* dots, const float* dOut, float* dq,
                    const Text* texts, const Heads& h) {
  DYNAMIC_SHARED(float, memory);
  constexpr int kQueries = warps * 16, N = rows / 8;
  float *sq = memory, *sd = sq + kQueries * rowFloats(W), *sk = sd + kQueries * rowFloats(W), *sv = sk + rows * rowFloats(W);
  const Text text = texts[blockIdx.z];
  const int head = int(blockIdx.y), first = int(blockIdx.x) * kQueries;
  if (first >= text.queries) return;
  const Lane lane;
  const Index stepQ = Index(h.H) * h.width, stepK = Index(h.Hkv) * h.width, at = (text.queriesBefore + first) * stepQ + head * h.width;
  const Index keysAt = text.keysBefore * stepK + Index(head / (h.H / h.Hkv)) * h.width;
  if (bias) bias += Index(blockIdx.z) * h.room;
  loadRows<W>(q + at, stepQ, text.queries - first, kQueries, h.width, h.scale, sq);
  loadRows<W>(dOut + at, stepQ, text.queries - first, kQueries, h.width, 1, sd);
  const int end = first + kQueries < text.queries ? first + kQueries : text.queries, seen = end + text.keys - text.queries;
  const int keys = passesOver(h, text, first) && seen < text.keys ? seen : text.keys;
  const Index rowsBefore = firstRow(h, text, head) + first;
  float top[2], inverse[2], dot[2];
  uint32_t hashes[2];
  for (int r = 0; r < 2; r++) {
    const int row = lane.row(2 * r);
    const bool inside = first + row < text.queries;
    top[r] = inside ? stats[(rowsBefore + row) * 2] : 0;
    inverse[r] = inside ? 1 / stats[(rowsBefore + row) * 2 + 1] : 0;
    dot[r] = inside ? dots[rowsBefore + row] : 0;
    hashes[r] = rowHash(h, rowsBefore + row);
  }
  float g[W / 8][4] = {};
  for (int j0 = 0; j0 < keys; j0 += rows) {
    __syncthreads();
    loadRows<W>(k + keysAt + j0 * stepK, stepK, text.keys - j0, rows, h.width, 1, sk);
    loadRows<W>(v + keysAt + j0 * stepK, stepK, text.keys - j0, rows, h.width, 1, sv);
    __syncthreads();
    float s[N][4] = {}, dp[N][4] = {};
    multiplyRows<W, N>(s, sq, sk, h.width, lane);
    multiplyRows<W, N>(dp, sd, sv, h.width, lane);
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int key = j0 + n * 8 + lane.column(e), r = e / 2;
        const float p = expf(s[n][e] + masking(h, text, bias, first + lane.row(e), key) - top[r]) * inverse[r];
        s[n][e] = p * ((kept(h, hashes[r], key) ? dp[n][e] * h.keep : 0.f) - dot[r]);
      }
    accumulateRows<W, N>(g, s, sk, h.width, lane);
  }
#pragma unroll
  for (int d = 0; d < W / 8; d++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int column = d * 8 + lane.column(e), row = lane.row(e);
      if (first + row < text.queries && column < h.width) dq[at + row * stepQ + column] = g[d][e] * h.scale;
    }
}

/** Rows are keys here, columns queries; the heads that share a key's head follow one another. */
template <int W, int warps, int rows>
inline void keys(const float* q, const float* k, const float* v, const float* bias, const float* stats, const float* dots, const float* dOut, float* dk, float* dv,
                 const Text* texts, const Heads& h) {
  DYNAMIC_SHARED(float, memory);
  constexpr int kKeys = warps * 16, N = rows / 8;
  float *sk = memory, *sv = sk + kKeys * rowFloats(W), *sq = sv + kKeys * rowFloats(W), *sd = sq + rows * rowFloats(W);
  SHARED(float, tops, rows);
  SHARED(float, inverses, rows);
  SHARED(float, products, rows);
  SHARED(uint32_t, hashes, rows);
  const Text text = texts[blockIdx.z];
  const int headK = int(blockIdx.y), first = int(blockIdx.x) * kKeys, group = h.H / h.Hkv;
  if (first >= text.keys) return;
  const Lane lane;
  const Index stepQ = Index(h.H) * h.width, stepK = Index(h.Hkv) * h.width, at = (text.keysBefore + first) * stepK + headK * h.width;
  if (bias) bias += Index(blockIdx.z) * h.room;
  loadRows<W>(k + at, stepK, text.keys - first, kKeys, h.width, 1, sk);
  loadRows<W>(v + at, stepK, text.keys - first, kKeys, h.width, 1, sv);
  float gk[W / 8][4] = {}, gv[W / 8][4] = {};
  for (int head = headK * group; head < (headK + 1) * group; head++)
    for (int i0 = 0; i0 < text.queries; i0 += rows) {
      if (passesOver(h, text, i0) && i0 + rows - 1 + text.keys - text.queries < first) continue;
      const Index from = (text.queriesBefore + i0) * stepQ + head * h.width, rowsBefore = firstRow(h, text, head) + i0;
      __syncthreads();
      loadRows<W>(q + from, stepQ, text.queries - i0, rows, h.width, h.scale, sq);
      loadRows<W>(dOut + from, stepQ, text.queries - i0, rows, h.width, 1, sd);
      for (int i = int(threadIdx.x); i < rows; i += int(blockDim.x)) {
        const bool inside = i0 + i < text.queries;
        tops[i] = inside ? stats[(rowsBefore + i) * 2] : 0;
        inverses[i] = inside ? 1 / stats[(rowsBefore + i) * 2 + 1] : 0;
        products[i] = inside ? dots[rowsBefore + i] : 0;
        hashes[i] = rowHash(h, rowsBefore + i);
      }
      __syncthreads();
      float s[N][4] = {}, dp[N][4] = {};
      multiplyRows<W, N>(s, sk, sq, h.width, lane);
      multiplyRows<W, N>(dp, sv, sd, h.width, lane);
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int i = n * 8 + lane.column(e), key = first + lane.row(e);
          const float p = expf(s[n][e] + masking(h, text, bias, i0 + i, key) - tops[i]) * inverses[i];
          const bool stays = kept(h, hashes[i], key);
          s[n][e] = stays ? p * h.keep : 0.f;
          dp[n][e] = p * ((stays ? dp[n][e] * h.keep : 0.f) - products[i]);
        }
      accumulateRows<W, N>(gv, s, sd, h.width, lane);
      accumulateRows<W, N>(gk, dp, sq, h.width, lane);
    }
#pragma unroll
  for (int d = 0; d < W / 8; d++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int column = d * 8 + lane.column(e), row = lane.row(e);
      if (first + row >= text.keys || column >= h.width) continue;
      dk[at + row * stepK + column] = gk[d][e];
      dv[at + row * stepK + column] = gv[d][e];
    }
}

#define GIVEN const float *q, const float *k, const float *v, const float *bias, const float *stats, const float *dots, const float *dOut
#define FOR_QUERIES GIVEN, float *dq, const Text *texts, Heads h
#define FOR_KEYS GIVEN, float *dk, float *dv, const Text *texts, Heads h
GRAFT_BY_WIDTH(attentionQueries, kGradientTiles, queries, FOR_QUERIES, q, k, v, bias, stats, dots, dOut, dq, texts, h)
GRAFT_BY_WIDTH(attentionKeys, kGradientTiles, keys, FOR_KEYS, q, k, v, bias, stats, dots, dOut, dk, dv, texts, h)
