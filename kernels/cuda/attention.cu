// Attention with a running softmax (Dao, 2023): a block has 16 queries a warp in shared memory and goes through tiles of keys and values.
#include "attention.cuh"

/** bias = (1 - mask) · -1e9, and firstSure of each text from its first visible key. A block a text. */
KERNEL(256, keyBias, const float* mask, float* bias, Text* texts, int room) {
  const Index b = blockIdx.x;
  int visible = room;
  for (int j = int(threadIdx.x); j < room; j += 256) {
    const float m = mask[b * room + j];
    bias[b * room + j] = (1 - m) * kMasked;
    if (m == 1 && j < visible) visible = j;
  }
  visible = overBlock(visible, room, Smaller());
  const int sure = visible + texts[b].queries - room;
  if (threadIdx.x == 0) texts[b].firstSure = sure > 0 ? sure : 0;
}

template <int W, int warps, int rows>
inline void forward(const float* q, const float* k, const float* v, const float* bias, float* out, float* stats, const Text* texts, const Heads& h) {
  DYNAMIC_SHARED(float, memory);
  constexpr int kQueries = warps * 16, N = rows / 8;
  float *sq = memory, *sk = sq + kQueries * rowFloats(W), *sv = sk + rows * rowFloats(W);
  const Text text = texts[blockIdx.z];
  const int head = int(blockIdx.y), first = int(blockIdx.x) * kQueries;
  if (first >= text.queries) return;
  const Lane lane;
  const Index stepQ = Index(h.H) * h.width, stepK = Index(h.Hkv) * h.width, at = (text.queriesBefore + first) * stepQ + head * h.width;
  const Index keysAt = text.keysBefore * stepK + Index(head / (h.H / h.Hkv)) * h.width;
  if (bias) bias += Index(blockIdx.z) * h.room;
  loadRows<W>(q + at, stepQ, text.queries - first, kQueries, h.width, h.scale, sq);
  const int end = first + kQueries < text.queries ? first + kQueries : text.queries, seen = end + text.keys - text.queries;
  const int keys = passesOver(h, text, first) && seen < text.keys ? seen : text.keys;
  const Index rowsBefore = firstRow(h, text, head) + first;
  const uint32_t hashes[2] = {rowHash(h, rowsBefore + lane.row(0)), rowHash(h, rowsBefore + lane.row(2))};
  float o[W / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  for (int j0 = 0; j0 < keys; j0 += rows) {
    __syncthreads();
    loadRows<W>(k + keysAt + j0 * stepK, stepK, text.keys - j0, rows, h.width, 1, sk);
    loadRows<W>(v + keysAt + j0 * stepK, stepK, text.keys - j0, rows, h.width, 1, sv);
    __syncthreads();
    float s[N][4] = {};
    multiplyRows<W, N>(s, sq, sk, h.width, lane);
    float most[2] = {top[0], top[1]};
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        s[n][e] += masking(h, text, bias, first + lane.row(e), j0 + n * 8 + lane.column(e));
        most[e / 2] = Larger()(most[e / 2], s[n][e]);
      }
#pragma unroll
    for (int r = 0; r < 2; r++) {  // four lanes share a row
      most[r] = Larger()(most[r], __shfl_xor_sync(kAll, most[r], 1));
      most[r] = Larger()(most[r], __shfl_xor_sync(kAll, most[r], 2));
      const float factor = expf(top[r] - most[r]);
      top[r] = most[r];
      total[r] *= factor;
#pragma unroll
      for (int d = 0; d < W / 8; d++) o[d][2 * r] *= factor, o[d][2 * r + 1] *= factor;
    }
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const float p = expf(s[n][e] - top[e / 2]);
        total[e / 2] += p;
        s[n][e] = kept(h, hashes[e / 2], j0 + n * 8 + lane.column(e)) ? p : 0.f;
      }
    accumulateRows<W, N>(o, s, sv, h.width, lane);
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    total[r] += __shfl_xor_sync(kAll, total[r], 1);
    total[r] += __shfl_xor_sync(kAll, total[r], 2);
    const int row = lane.row(2 * r);
    if (first + row >= text.queries) continue;
    const float scale = h.keep / total[r];
    if (lane.t == 0) {
      stats[(rowsBefore + row) * 2] = top[r];
      stats[(rowsBefore + row) * 2 + 1] = total[r];
    }
#pragma unroll
    for (int d = 0; d < W / 8; d++)
#pragma unroll
      for (int e = 2 * r; e < 2 * r + 2; e++) {
        const int column = d * 8 + lane.column(e);
        if (column < h.width) out[at + row * stepQ + column] = o[d][e] * scale;
      }
  }
}

#define PARAMETERS const float *q, const float *k, const float *v, const float *bias, float *out, float *stats, const Text *texts, Heads h
GRAFT_BY_WIDTH(attention, kForwardTiles, forward, PARAMETERS, q, k, v, bias, out, stats, texts, h)
