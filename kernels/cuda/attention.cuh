// Pieces of attention forward and backward. Scores are tiles of 16 rows a warp; a tile's fragments are those of mma.cuh.
#pragma once

#include "attention.h"
#include "mma.cuh"

#include "../common/hash32.h"

constexpr float kMasked = -1e9f;

struct Lane {
  int warp = int(threadIdx.x >> 5), g = int(threadIdx.x & 31) >> 2, t = int(threadIdx.x & 3);
  /** The row of the warp's 16, and the column of 8, of element e of a fragment of C. */
  int row(int e) const { return warp * 16 + g + (e < 2 ? 0 : 8); }
  int column(int e) const { return 2 * t + (e & 1); }
};

/** Rows [0, count) of `width` floats, `step` apart, times `scale`, to `rows` rows in shared memory, zero beyond. */
template <int W>
inline void loadRows(const float* from, Index step, int count, int rows, int width, float scale, float* to) {
  for (int e = int(threadIdx.x); e < rows * W; e += int(blockDim.x)) {
    const int i = e / W, d = e % W;
    to[i * rowFloats(W) + d] = i < count && d < width ? from[i * step + d] * scale : 0.f;
  }
}

/** c[n] += the 16 rows of this warp in `a` times rows 8n … of `b`, over their `width` columns. */
template <int W, int N>
inline void multiplyRows(float (&c)[N][4], const float* a, const float* b, int width, const Lane& lane) {
  for (int d = 0; d < width; d += 8) {
    const float* from = a + (lane.warp * 16 + lane.g) * rowFloats(W) + d + lane.t;
    const float x[4] = {from[0], from[8 * rowFloats(W)], from[4], from[8 * rowFloats(W) + 4]};
#pragma unroll
    for (int n = 0; n < N; n++) {
      const float* with = b + (n * 8 + lane.g) * rowFloats(W) + d + lane.t;
      const float y[2] = {with[0], with[4]};
      multiplyTile(c[n], x, y);
    }
  }
}

/** c [16, W] += p [16, 8 N] · rows of `b`. Column 2t of p stands for t, and 2t + 1 for t + 4: a fragment of C serves as one of A. */
template <int W, int N>
inline void accumulateRows(float (&c)[W / 8][4], const float (&p)[N][4], const float* b, int width, const Lane& lane) {
#pragma unroll
  for (int n = 0; n < N; n++) {
    const float x[4] = {p[n][0], p[n][2], p[n][1], p[n][3]};
#pragma unroll
    for (int d = 0; d < W / 8; d++) {
      if (d * 8 >= width) continue;
      const float* with = b + (n * 8 + 2 * lane.t) * rowFloats(W) + d * 8 + lane.g;
      const float y[2] = {with[0], with[rowFloats(W)]};
      multiplyTile(c[d], x, y);
    }
  }
}

/** What is added to the score of a query and a key of one text; -∞ where there is no such key. */
inline float masking(const Heads& h, const Text& text, const float* bias, int query, int key) {
  if (key >= text.keys) return -INFINITY;
  return (bias ? bias[key] : 0.f) + (h.causal && key > query + text.keys - text.queries ? kMasked : 0.f);
}

/** Whether the queries from `first` on all see a key, so that keys hidden by causality can be passed over. */
inline bool passesOver(const Heads& h, const Text& text, int first) { return h.causal && first >= text.firstSure; }

inline bool kept(const Heads& h, uint32_t rowHash, int key) { return h.below == 0 || graft::hash32(rowHash + uint32_t(key) * graft::kGolden) >= h.below; }
inline uint32_t rowHash(const Heads& h, Index row) { return graft::hashOf(uint32_t(row), h.key0, h.key1); }

/** The first row of a head among those of all heads, text by text. */
inline Index firstRow(const Heads& h, const Text& text, int head) { return text.queriesBefore * h.H + Index(head) * text.queries; }

/** Runs `body<W, warps, rows>` as KERNEL name32, name64, name128, name256. */
#define GRAFT_BY_WIDTH(name, tiles, body, parameters, ...)                                                            \
  KERNEL(tiles[0].warps * 32, name##32, parameters) { body<32, tiles[0].warps, tiles[0].rows>(__VA_ARGS__); }         \
  KERNEL(tiles[1].warps * 32, name##64, parameters) { body<64, tiles[1].warps, tiles[1].rows>(__VA_ARGS__); }         \
  KERNEL(tiles[2].warps * 32, name##128, parameters) { body<128, tiles[2].warps, tiles[2].rows>(__VA_ARGS__); }       \
  KERNEL(tiles[3].warps * 32, name##256, parameters) { body<256, tiles[3].warps, tiles[3].rows>(__VA_ARGS__); }
