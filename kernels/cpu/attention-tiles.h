// What both directions of attention are made of: copies of a head's rows, products whose tiles go where they are wanted, scores. Scores are
// kept transposed, [keys, queries], and in logarithms to the base 2: a lane is a query, so that maxima and sums over its keys need nothing
// across lanes, and the factor that the keys are scaled by takes the change of base in. For *.isa.cc files.
#pragma once

#include "attention.h"
#include "hash.h"
#include "tile.h"
#include "transpose.h"

namespace graft {
namespace GRAFT_ISA {

static constexpr int64_t kKeys = 128;          // per block, at most
static constexpr int64_t kGradientBlock = 64;  // queries per block of the gradient, at most
static constexpr int64_t kLine = 16;           // floats of a cache line
static constexpr float kLn2 = 0.693147181f;

static inline int64_t wide(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

/** The size, a multiple of `step`, of as few blocks of at most `most` as n is cut into evenly. */
static inline int64_t evenly(int64_t n, int64_t most, int64_t step) {
  const int64_t blocks = (n + most - 1) / most;
  return blocks ? ((n + blocks - 1) / blocks + step - 1) / step * step : step;
}

/** 2ˣ within 3 ulp for x ≤ 127; 0 below -126.5, NaN kept. */
static inline vf vexp2(vf x) {
  const vf least = set1(-127.0f), y = vselect(least > x, least, x);
  const vf shifted = y + 12583039.0f;  // 1.5·2²³ + 127: rounds to the nearest integer, the exponent's bias added
  const vf f = y - (shifted - 12583039.0f);
  vf p = f * 1.3264727e-3f + 9.671513e-3f;
  p = p * f + 5.5507336e-2f;
  p = p * f + 2.4022242e-1f;
  p = p * f + 6.93147e-1f;
  p = p * f + 1.0f;
  return p * (vf)((vu)shifted << 23);
}

/** Rows of `width` floats, `step` apart, as rows of wide(width), zero beyond, times `scale`. */
static inline void copyRows(const float* from, int64_t step, int64_t rows, int64_t width, float scale, float* to) {
  const int64_t padded = wide(width), whole = width / kLanes * kLanes;
  for (int64_t i = 0; i < rows; i++, from += step, to += padded) {
    for (int64_t d = 0; d < whole; d += kLanes) store(to + d, load(from + d) * scale);
    for (int64_t d = whole; d < padded; d++) to[d] = d < width ? from[d] * scale : 0;
  }
}

/** x · y over n values. */
static inline float dot(const float* x, const float* y, int64_t n) {
  const int64_t whole = n / kLanes * kLanes;
  vf sums = {};
  for (int64_t d = 0; d < whole; d += kLanes) sums += load(x + d) * load(y + d);
  float sum = vsum(sums);
  for (int64_t d = whole; d < n; d++) sum += x[d] * y[d];
  return sum;
}

/** The other way: rows of wide(width) floats as rows of `width`, `step` apart. */
static inline void putRows(const float* from, int64_t rows, int64_t width, float* to, int64_t step) {
  for (int64_t i = 0; i < rows; i++, from += wide(width), to += step)
    for (int64_t d = 0; d < width; d++) to[d] = from[d];
}

/** The transpose of rows that are `step` apart as `width` rows, `ld` apart, of wide(rows), zero beyond. */
static inline void transposeRows(const float* from, int64_t step, int64_t rows, int64_t width, float* to, int64_t ld) {
  transpose(reinterpret_cast<const Unit*>(from), step, rows, width, ld, reinterpret_cast<Unit*>(to));
  for (int64_t i = rows; i < wide(rows); i++)
    for (int64_t d = 0; d < width; d++) to[d * ld + i] = 0;
}

/** Asks for the next few rows. */
static inline void bring(Ahead& ahead) {
  for (int64_t n = ahead.each; n > 0 && ahead.current < ahead.count; n--) {
    const Ahead::Rows& r = ahead.list[ahead.current];
    const float* at = r.at + ahead.row * r.step;
    if (r.written) for (int64_t d = 0; d < r.width; d += kLine) __builtin_prefetch(at + d, 1);
    else for (int64_t d = 0; d < r.width; d += kLine) __builtin_prefetch(at + d, 0, 2);
    if (++ahead.row < r.rows) continue;
    ahead.row = 0;
    ahead.current++;
  }
}

/** Spreads the rows over so many tiles. */
static inline void spread(Ahead& ahead, int64_t tiles) {
  int64_t rows = 0;
  for (int i = 0; i < ahead.count; i++) rows += ahead.list[i].rows;
  ahead.each = (rows + tiles - 1) / tiles;
}

/** A · B in tiles: `then` gets each, with its first row and column. Element (r, p) of A is a[r·step + p], or a[r + p·step] of a transposed A. */
template <bool transposed>
struct Product {
  template <int R, int V, class Then>
  static void run(int64_t first, const float* a, int64_t step, const float* b, int64_t bp, int64_t depth, int64_t column, Then then, Ahead* ahead) {
    vf tile[R][V] = {};
    if (transposed) multiply<R, V>(a + first, 1, step, b + column, bp, depth, tile);
    else multiply<R, V>(a + first * step, step, 1, b + column, bp, depth, tile);
    then(first, column, tile);
    bring(*ahead);
  }
};

/** [rows, columns] of A · B, columns a multiple of kLanes. */
template <bool transposed, class Then>
static inline void product(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t step, const float* b, int64_t bp, const Then& then,
                           Ahead& ahead) {
  int64_t j = 0;
  for (; j + 2 * kLanes <= columns; j += 2 * kLanes) inTiles<Product<transposed>, 2>(rows, a, step, b, bp, depth, j, then, &ahead);
  if (j < columns) inTiles<Product<transposed>, 1>(rows, a, step, b, bp, depth, j, then, &ahead);
}

/** to = (tile + before) · scale; before may be null, or `to` itself. */
struct Put {
  float* to;
  int64_t step;
  const float* before;
  int64_t beforeStep;
  float scale;
  template <int R, int V>
  void operator()(int64_t row, int64_t column, vf (&tile)[R][V]) const {
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) {
        const int64_t at = column + v * kLanes;
        const vf sum = before ? load(before + (row + r) * beforeStep + at) + tile[r][v] : tile[r][v];
        store(to + (row + r) * step + at, sum * scale);
      }
  }
};

/** Scores, with the bias of each key, or null. */
template <int64_t ld>
struct Scores {
  float* s;
  const float* bias;
  template <int R, int V>
  void operator()(int64_t row, int64_t column, vf (&tile)[R][V]) const {
    float* to = s + row * ld + column;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) store(to + r * ld + v * kLanes, bias ? tile[r][v] + bias[row + r] : tile[r][v]);
  }
};

/** How many keys the queries before `end`, of the block at `begin`, have to look at. */
static inline int64_t keysFor(const AttentionHead& h, int64_t begin, int64_t end) {
  if (!h.causal || begin < h.firstSure) return h.Tk;
  const int64_t seen = end + h.Tk - h.Tq;
  return seen < h.Tk ? seen : h.Tk;
}

/** Hides keys j0 … j0 + n - 1 from the queries, from `begin` on, that come before them. */
template <int64_t ld>
static inline void hideLater(const AttentionHead& h, int64_t begin, int64_t columns, int64_t j0, int64_t n, float* s) {
  vi lane = {};
  for (int l = 0; l < kLanes; l++) lane[l] = l;
  const int64_t seen = begin + h.Tk - h.Tq + 1 - j0;  // by the first query
  for (int64_t j = seen > 0 ? seen : 0; j < n; j++)
    for (int64_t i = 0; i < columns && i <= j - seen; i += kLanes) {
      float* at = s + j * ld + i;
      store(at, load(at) + vselect(lane <= vi{} + int32_t(j - seen - i), set1(kMasked), vf{}));
    }
}

/** Scores of keys j0 … j0 + n - 1, rows of k, and of queries from `begin` on, columns of qt: masks added. */
template <int64_t ld>
static inline void scores(const AttentionHead& h, const float* k, const float* qt, int64_t begin, int64_t columns, int64_t j0, int64_t n, float* s,
                          Ahead& ahead) {
  const int64_t step = wide(h.width);
  product<false>(n, columns, h.width, k + j0 * step, step, qt, ld, Scores<ld>{s, h.keyBias ? h.keyBias + j0 : nullptr}, ahead);
  if (h.causal) hideLater<ld>(h, begin, columns, j0, n, s);
}

static inline uint32_t rowHash(const Dropped& d, int64_t i) { return hashOf(d.firstRow + uint32_t(i), d.key0, d.key1); }

static inline void hashRows(const Dropped& d, int64_t begin, int64_t rows, uint32_t* hashes) {
  if (d.below)
    for (int64_t i = 0; i < wide(rows); i++) hashes[i] = rowHash(d, begin + i);
}

/** Whether key j of the queries whose rows have these hashes stays. */
static inline vi kept(const Dropped& d, const uint32_t* hashes, int64_t j) {
  vu h;
  __builtin_memcpy(&h, hashes, sizeof h);
  return hash32(h + uint32_t(j) * kGolden) >= d.below;
}

}  // namespace GRAFT_ISA
}  // namespace graft
