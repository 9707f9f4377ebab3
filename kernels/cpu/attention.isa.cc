#include "attention-tiles.h"

namespace graft {
namespace GRAFT_ISA {

int64_t attentionScratch(int64_t Tk, int64_t width, bool gradient) {
  const int64_t row = wide(width), keys = Tk * row;
  return gradient ? 4 * keys + 5 * kGradientBlock * row + 2 * kGradientBlock * kKeys : 2 * keys + 2 * kQueryBlock * row + kQueryBlock * kKeys;
}

namespace {

/** Below so many queries the keys are read where they lie: copying them would cost more than it saves. */
constexpr int64_t kFew = 3;

/** One query after another over keys in place; `s` holds a row of scores. */
void forwardFew(const AttentionHead& h, int64_t begin, int64_t end, float* s, float* out, float* stats) {
  const int64_t whole = h.width / kLanes * kLanes;
  const float scale = h.scale * kLog2e;
  for (int64_t i = begin; i < end; i++) {
    const float* q = h.q + i * h.qStep;
    float* o = out + i * h.qStep;
    const int64_t keys = keysFor(h, i, i + 1);
    float top = -__builtin_inff();
    for (int64_t j = 0; j < keys; j++) {
      const float x = dot(q, h.k + j * h.kStep, h.width) * scale + (h.keyBias ? h.keyBias[j] : 0) + (h.causal && j > i + h.Tk - h.Tq ? kMasked : 0);
      s[j] = x;
      if (x > top) top = x;
    }
    for (int64_t j = keys; j < wide(keys); j++) s[j] = -__builtin_inff();
    const uint32_t hash = rowHash(h.drop, i);
    vf total = {};
    for (int64_t j = 0; j < keys; j += kLanes) {
      const vf p = vexp2(load(s + j) - top);
      store(s + j, h.drop.below ? vselect(keptInRow(hash, uint32_t(j), h.drop.below), p, vf{}) : p);
      total += p;
    }
    const float all = vsum(total), share = h.drop.keep / all;
    for (int64_t d = 0; d < h.width; d++) o[d] = 0;
    for (int64_t j = 0; j < keys; j++) {
      const float* v = h.v + j * h.kStep;
      const float p = s[j] * share;
      for (int64_t d = 0; d < whole; d += kLanes) store(o + d, load(o + d) + p * load(v + d));
      for (int64_t d = whole; d < h.width; d++) o[d] += p * v[d];
    }
    stats[2 * i] = top;
    stats[2 * i + 1] = all;
  }
}

/** Of a block of queries so far: the largest score, the sum of exponentials beside it, and what the last keys made of earlier sums. */
struct Running {
  float most[kQueryBlock], total[kQueryBlock], carried[kQueryBlock], share[kQueryBlock];
  uint32_t hashes[kQueryBlock];

  /** Scores of n keys become exponentials, with zeros where dropped, V vectors of queries from query i on. */
  template <int V>
  void soften(const Dropped& d, int64_t i, int64_t j0, int64_t n, float* s) {
    vf top[V], sum[V] = {};
    for (int v = 0; v < V; v++) top[v] = load((j0 > 0 ? most + i : s) + v * kLanes);
    for (int64_t j = 0; j < n; j++)
      for (int v = 0; v < V; v++) top[v] = vmax(load(s + j * kQueryBlock + v * kLanes), top[v]);
    for (int64_t j = 0; j < n; j++)
      for (int v = 0; v < V; v++) {
        float* at = s + j * kQueryBlock + v * kLanes;
        const vf p = vexp2(load(at) - top[v]);
        sum[v] += p;
        store(at, d.below ? vselect(kept(d, hashes + i + v * kLanes, j0 + j), p, vf{}) : p);
      }
    for (int v = 0; v < V; v++) {
      const int64_t at = i + v * kLanes;
      if (j0 > 0) {
        const vf factor = vexp2(load(most + at) - top[v]);
        store(carried + at, factor);
        sum[v] += load(total + at) * factor;
      }
      store(most + at, top[v]);
      store(total + at, sum[v]);
      store(share + at, d.keep / sum[v]);
    }
  }

  void soften(const Dropped& d, int64_t columns, int64_t j0, int64_t n, float* s) {
    int64_t i = 0;
    for (; i + 2 * kLanes <= columns; i += 2 * kLanes) soften<2>(d, i, j0, n, s + i);
    if (i < columns) soften<1>(d, i, j0, n, s + i);
  }
};

/** to = (tile + before · carried) · share, row by row; before, and with it carried, and share may be null. */
struct Mix {
  float* to;
  int64_t step;
  const float *before, *carried, *share;
  int64_t beforeStep;
  template <int R, int V>
  void operator()(int64_t row, int64_t column, vf (&tile)[R][V]) const {
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const vf old = set1(before ? carried[row + r] : 0), factor = set1(share ? share[row + r] : 1);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) {
        const int64_t at = column + v * kLanes;
        const vf sum = before ? load(before + (row + r) * beforeStep + at) * old + tile[r][v] : tile[r][v];
        store(to + (row + r) * step + at, sum * factor);
      }
    }
  }
};

}  // namespace

void attentionForward(const AttentionHead& h, int64_t begin, int64_t end, Ahead& ahead, float* scratch, float* out, float* stats) {
  if (h.Tq <= kFew) return forwardFew(h, begin, end, scratch, out, stats);
  const int64_t padded = wide(h.width);
  const bool whole = h.width == padded;
  float *k = scratch, *v = k + h.Tk * padded, *qt = v + h.Tk * padded, *o = qt + kQueryBlock * padded, *s = o + kQueryBlock * padded;
  Running r;
  spread(ahead, ((end - begin) / (2 * kLanes) + 1) * (h.Tk / kTileRows + 1));
  copyRows(h.k, h.kStep, h.Tk, h.width, h.scale * kLog2e, k);
  copyRows(h.v, h.kStep, h.Tk, h.width, 1, v);
  for (int64_t i0 = begin; i0 < end; i0 += kQueryBlock) {
    const int64_t rows = end - i0 < kQueryBlock ? end - i0 : kQueryBlock, columns = wide(rows), keys = keysFor(h, i0, i0 + rows), step = evenly(keys, kKeys, 1);
    transposeRows(h.q + i0 * h.qStep, h.qStep, rows, h.width, qt, kQueryBlock);
    hashRows(h.drop, i0, rows, r.hashes);
    float* to = out + i0 * h.qStep;
    for (int64_t j0 = 0; j0 < keys; j0 += step) {
      const int64_t n = keys - j0 < step ? keys - j0 : step;
      const bool last = j0 + n == keys;
      scores<kQueryBlock>(h, k, qt, i0, columns, j0, n, s, ahead);
      r.soften(h.drop, columns, j0, n, s);
      product<true>(rows, padded, n, s, kQueryBlock, v + j0 * padded, padded,
                    Mix{last && whole ? to : o, last && whole ? h.qStep : padded, j0 > 0 ? o : nullptr, r.carried, last ? r.share : nullptr, padded}, ahead);
    }
    if (!whole) putRows(o, rows, h.width, to, h.qStep);
    for (int64_t i = 0; i < rows; i++) {
      stats[2 * (i0 + i)] = r.most[i];
      stats[2 * (i0 + i) + 1] = r.total[i];
    }
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
