// Attention by blocks of queries and keys with a running softmax (Dao et al., 2022): the [Tq, Tk] scores of a head never exist.
#pragma once

#include "dispatch.h"

namespace graft {

inline constexpr float kLog2e = 1.44269504f;
/** What is added to a score that does not count, in logarithms to the base 2. */
inline constexpr float kMasked = -1e9f * kLog2e;

/** Dropout of the attention weights: key j of query i is dropped by the hash of row `firstRow + i` and j; `below` 0 drops nothing. */
struct Dropped {
  uint32_t firstRow, key0, key1, below;
  float keep;
};

/** One head of one example. Rows of q, out, dOut, dq are qStep floats apart, rows of k, v are kStep; `width` of them belong to the head. */
struct AttentionHead {
  const float *q, *k, *v;
  int64_t qStep, kStep, Tq, Tk, width;
  float scale;
  /** Added to the scores of each key, in logarithms to the base 2, or null. */
  const float* keyBias;
  bool causal;
  /** Queries from this one on see a key for certain: keys that causality hides from them can be skipped. */
  int64_t firstSure;
  Dropped drop;
};

/** Rows of the head that comes next, asked for while this one is computed: they lie too far apart for the machine to foresee them. */
struct Ahead {
  struct Rows {
    const float* at;
    int64_t step, rows, width;
    bool written;
  };
  Rows list[8];
  int count = 0, current = 0;
  int64_t row = 0, each = 0;  // `each` rows at a time

  /** Rows of `width` floats, `step` apart. */
  void add(const float* at, int64_t step, int64_t rows, int64_t width, bool written) { list[count++] = {at, step, rows, width, written}; }
};

/** Scratch floats that the functions below need. */
GRAFT_VARIANTS(int64_t, attentionScratch, (int64_t Tk, int64_t width, bool gradient))
/**
 * Queries [begin, end) of a head: rows of out, and per row of stats the maximum of its scores, in logarithms to the base 2, and the sum of
 * their exponentials beside it.
 */
GRAFT_VARIANTS(void, attentionForward, (const AttentionHead& head, int64_t begin, int64_t end, Ahead& ahead, float* scratch, float* out, float* stats))
/**
 * `n` heads that share k and v (grouped queries): writes rows of each head's dq and of dk, dv. Head i begins i·width floats further
 * in q, out, dOut, dq, and i·2·Tq in stats.
 */
GRAFT_VARIANTS(void, attentionGradient, (const AttentionHead& head, int64_t n, const float* out, const float* dOut, const float* stats,
                                         Ahead& ahead, float* scratch, float* dq, float* dk, float* dv))
/** Queries per block. */
inline constexpr int64_t kQueryBlock = 32;

}  // namespace graft
