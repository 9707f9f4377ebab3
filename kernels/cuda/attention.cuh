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

struct alignas(16) Four { float x[4]; };

/** Products to about single precision, of floats. */
struct Single {
  typedef float Element;
  static inline float exponential(float x) { return expf(x); }
  static inline void put(float* to, const Four& x) { *reinterpret_cast<Four*>(to) = x; }
  static inline void put(float* to, float x) { *to = x; }

  /** c[n] += the 16 rows of this warp in `a` times rows 8n … of `b`, over their `width` columns. */
  template <int W, int N>
  static inline void multiplyRows(float (&c)[N][4], const float* a, const float* b, int width, const Lane& lane) {
    constexpr int row = rowLength(W, 4);
    for (int d = 0; d < width; d += 8) {
      const float* from = a + (lane.warp * 16 + lane.g) * row + d + lane.t;
      const float x[4] = {from[0], from[8 * row], from[4], from[8 * row + 4]};
#pragma unroll
      for (int n = 0; n < N; n++) {
        const float* with = b + (n * 8 + lane.g) * row + d + lane.t;
        const float y[2] = {with[0], with[4]};
        multiplyTile(c[n], x, y);
      }
    }
  }

  /** c [16, W] += p [16, 8 N] · rows of `b`. Column 2t of p stands for t, and 2t + 1 for t + 4: a fragment of C serves as one of A. */
  template <int W, int N>
  static inline void accumulateRows(float (&c)[W / 8][4], const float (&p)[N][4], const float* b, int width, const Lane& lane) {
    constexpr int row = rowLength(W, 4);
#pragma unroll
    for (int n = 0; n < N; n++) {
      const float x[4] = {p[n][0], p[n][2], p[n][1], p[n][3]};
#pragma unroll
      for (int d = 0; d < W / 8; d++) {
        if (d * 8 >= width) continue;
        const float* with = b + (n * 8 + 2 * lane.t) * row + d * 8 + lane.g;
        const float y[2] = {with[0], with[row]};
        multiplyTile(c[d], x, y);
      }
    }
  }
};

/** Products of operands rounded to bf16, weights and gradients of scores among them; sums are floats. */
struct Bf16 {
  typedef uint16_t Element;
  struct alignas(8) Pairs { uint32_t x[2]; };
  static inline float exponential(float x) { return __expf(x); }
  static inline void put(uint16_t* to, const Four& x) { *reinterpret_cast<Pairs*>(to) = {{pairOf(x.x[0], x.x[1]), pairOf(x.x[2], x.x[3])}}; }
  static inline void put(uint16_t* to, float x) { *to = floatToBf16(x); }

  template <int W, int N>
  static inline void multiplyRows(float (&c)[N][4], const uint16_t* a, const uint16_t* b, int width, const Lane& lane) {
    constexpr int row = rowLength(W, 2);
    const int l = int(threadIdx.x & 31);
    const uint16_t *from = a + (lane.warp * 16 + l % 16) * row + l / 16 * 8, *with = b + (l / 16 * 8 + l % 8) * row + l / 8 % 2 * 8;
    for (int d = 0; d < width; d += 16) {
      uint32_t x[4];
      loadMatrices(x, from + d);
#pragma unroll
      for (int n = 0; n < N; n += 2) {
        uint32_t y[4];
        loadMatrices(y, with + n * 8 * row + d);
        multiplyTile(c[n], x, y[0], y[1]);
        multiplyTile(c[n + 1], x, y[2], y[3]);
      }
    }
  }

  template <int W, int N>
  static inline void accumulateRows(float (&c)[W / 8][4], const float (&p)[N][4], const uint16_t* b, int width, const Lane&) {
    constexpr int row = rowLength(W, 2);
    const int l = int(threadIdx.x & 31);
    const uint16_t* with = b + l % 16 * row + l / 16 * 8;
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      const uint32_t x[4] = {pairOf(p[n][0], p[n][1]), pairOf(p[n][2], p[n][3]), pairOf(p[n + 1][0], p[n + 1][1]), pairOf(p[n + 1][2], p[n + 1][3])};
#pragma unroll
      for (int d = 0; d < W / 8; d += 2) {
        if (d * 8 >= width) continue;
        uint32_t y[4];
        loadTransposed(y, with + n * 8 * row + d * 8);
        multiplyTile(c[d], x, y[0], y[1]);
        multiplyTile(c[d + 1], x, y[2], y[3]);
      }
    }
  }
};

/** Rows [0, count) of `width` floats, `step` apart, to `rows` rows in shared memory, zero beyond. */
template <class M, int W>
inline void loadRows(const float* from, Index step, int count, int rows, int width, typename M::Element* to) {
  constexpr int row = rowLength(W, sizeof(typename M::Element)), fours = W / 4;
  if (width % 4 == 0) {  // rows begin at multiples of 16 bytes
    for (int e = int(threadIdx.x); e < rows * fours; e += int(blockDim.x)) {
      const int i = e / fours, d = e % fours * 4;
      Four x = {};
      if (i < count && d < width) x = *reinterpret_cast<const Four*>(from + i * step + d);
      M::put(to + i * row + d, x);
    }
    return;
  }
  for (int e = int(threadIdx.x); e < rows * W; e += int(blockDim.x)) {
    const int i = e / W, d = e % W;
    M::put(to + i * row + d, i < count && d < width ? from[i * step + d] : 0.f);
  }
}

inline bool kept(const Heads& h, uint32_t rowHash, int key) { return h.below == 0 || graft::hash32(rowHash + uint32_t(key) * graft::kGolden) >= h.below; }
inline uint32_t rowHash(const Heads& h, Index row) { return graft::hashOf(uint32_t(row), h.key0, h.key1); }

/** The part of a text that a block works on: `rows` rows of a head from `first` on, of queries or of keys. */
struct Part {
  const Heads& h;
  const Text text;
  const int head = int(blockIdx.y), first;
  const Index stepQ = Index(h.H) * h.width, stepK = Index(h.Hkv) * h.width;
  const float* bias;
  const Lane lane;

  Part(const Heads& heads, const Text* texts, const float* biases, int rows)
      : h(heads), text(texts[blockIdx.z]), first(int(blockIdx.x) * rows), bias(biases ? biases + Index(blockIdx.z) * heads.room : nullptr) {}
  /** Where row i of a head begins in q, and in k. */
  Index query(int i, int ofHead) const { return (text.queriesBefore + i) * stepQ + Index(ofHead) * h.width; }
  Index key(int j, int ofHead) const { return (text.keysBefore + j) * stepK + Index(ofHead) * h.width; }
  int keyHead() const { return head / (h.H / h.Hkv); }
  /** `rows` rows of a head from row i on of something laid out as q, or as k, to shared memory. */
  template <class M, int W>
  void loadQueries(const float* q, int i, int ofHead, int rows, typename M::Element* to) const { loadRows<M, W>(q + query(i, ofHead), stepQ, text.queries - i, rows, h.width, to); }
  template <class M, int W>
  void loadKeys(const float* k, int j, int ofHead, int rows, typename M::Element* to) const { loadRows<M, W>(k + key(j, ofHead), stepK, text.keys - j, rows, h.width, to); }
  /** The next `rows` keys and values that this block's queries see, in place of those before, which all threads are done with. */
  template <class M, int W>
  void loadNext(const float* k, const float* v, int j, int rows, typename M::Element* sk, typename M::Element* sv) const {
    __syncthreads();
    loadKeys<M, W>(k, j, keyHead(), rows, sk);
    loadKeys<M, W>(v, j, keyHead(), rows, sv);
    __syncthreads();
  }
  /** The number of query i among those of all heads, text by text and head by head. */
  Index row(int i, int ofHead) const { return text.queriesBefore * h.H + Index(ofHead) * text.queries + i; }
  /** Whether the queries from i on all see a key, so that keys hidden by causality can be passed over. */
  bool passesOver(int i) const { return h.causal && i >= text.firstSure; }
  /** How many keys `rows` queries from `first` on have to go through. */
  int keysSeen(int rows) const {
    const int end = first + rows < text.queries ? first + rows : text.queries, seen = end + text.keys - text.queries;
    return passesOver(first) && seen < text.keys ? seen : text.keys;
  }
  /** What is added to the score of a query and a key; -∞ where there is no such key. */
  float masking(int query, int key) const {
    if (key >= text.keys) return -INFINITY;
    return (bias ? bias[key] : 0.f) + (h.causal && key > query + text.keys - text.queries ? kMasked : 0.f);
  }
};

/** Runs `body<M, W, warps, rows>` as KERNEL name32, name64, name128, name256. */
#define GRAFT_BY_WIDTH(name, M, tiles, body, parameters, ...)                                                         \
  KERNEL(tiles[0].warps * 32, name##32, parameters) { body<M, 32, tiles[0].warps, tiles[0].rows>(__VA_ARGS__); }      \
  KERNEL(tiles[1].warps * 32, name##64, parameters) { body<M, 64, tiles[1].warps, tiles[1].rows>(__VA_ARGS__); }      \
  KERNEL(tiles[2].warps * 32, name##128, parameters) { body<M, 128, tiles[2].warps, tiles[2].rows>(__VA_ARGS__); }    \
  KERNEL(tiles[3].warps * 32, name##256, parameters) { body<M, 256, tiles[3].warps, tiles[3].rows>(__VA_ARGS__); }
