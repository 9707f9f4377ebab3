#include "attention-tiles.h"

namespace graft {
namespace GRAFT_ISA {

namespace {

constexpr int64_t ld = kGradientBlock;

/** A block of queries: their rows and those of dOut over the sum of their weights, as they are and transposed. */
struct Block {
  float *q, *go, *qt, *got;
  float most[ld] = {}, along[ld] = {};  // along: what the softmax takes off the gradient of every score
  uint32_t hashes[ld];

  void fill(const AttentionHead& h, const float* out, const float* dOut, const float* stats, int64_t i0, int64_t rows) {
    const int64_t padded = wide(h.width);
    copyRows(h.q + i0 * h.qStep, h.qStep, rows, h.width, 1, q);
    for (int64_t i = 0; i < rows; i++) {
      const float *y = out + (i0 + i) * h.qStep, *dy = dOut + (i0 + i) * h.qStep, share = 1 / stats[2 * (i0 + i) + 1];
      along[i] = dot(dy, y, h.width) * share;
      most[i] = stats[2 * (i0 + i)];
      copyRows(dy, 0, 1, h.width, share * h.drop.keep, go + i * padded);
    }
    transposeRows(q, padded, rows, h.width, qt, ld);
    transposeRows(go, padded, rows, h.width, got, ld);
    hashRows(h.drop, i0, rows, hashes);
  }

  /** Scores become weights times the sums that `go` is over. */
  void soften(int64_t columns, int64_t n, float* p) const {
    for (int64_t i = 0; i < columns; i += kLanes) {
      const vf top = load(most + i);
      for (int64_t j = 0; j < n; j++) store(p + j * ld + i, vexp2(load(p + j * ld + i) - top));
    }
  }
};

/** Gradients of scores from those of weights, the tile's. */
struct Slopes {
  const float *p, *along;
  float* ds;
  template <int R, int V>
  void operator()(int64_t row, int64_t column, vf (&tile)[R][V]) const {
    const float* from = p + row * ld + column;
    float* to = ds + row * ld + column;
    vf off[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) off[v] = load(along + column + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) store(to + r * ld + v * kLanes, load(from + r * ld + v * kLanes) * (tile[r][v] - off[v]));
  }
};

/** The same where weights are dropped, from ds, the gradients of weights; p becomes what was left of them. */
void dropSlopes(const AttentionHead& h, const Block& b, int64_t columns, int64_t j0, int64_t n, float* p, float* ds) {
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i < columns; i += kLanes) {
      const int64_t at = j * ld + i;
      const vi stays = kept(h.drop, b.hashes + i, j0 + j);
      store(ds + at, load(p + at) * (vselect(stays, load(ds + at), vf{}) - load(b.along + i)));
      store(p + at, vselect(stays, load(p + at), vf{}));
    }
}

}  // namespace

void attentionGradient(const AttentionHead& shared, int64_t n, const float* out, const float* dOut, const float* stats, Ahead& ahead, float* scratch,
                       float* dq, float* dk, float* dv) {
  AttentionHead h = shared;
  const int64_t padded = wide(h.width), all = h.Tk * padded, block = ld * padded, size = evenly(h.Tq, ld, 2 * kLanes);
  const bool whole = h.width == padded;
  float *k = scratch, *v = k + all, *gk = v + all, *gv = gk + all, *gq = gv + all, *p = gq + block, *ds = p + ld * kKeys, *rest = ds + ld * kKeys;
  Block b;
  b.q = rest, b.go = b.q + block, b.qt = b.go + block, b.got = b.qt + block;
  spread(ahead, n * (h.Tq / (2 * kLanes) + 1) * (h.Tk / kTileRows + 1) * (256 + 3 * padded) / 128);
  copyRows(h.k, h.kStep, h.Tk, h.width, h.scale * kLog2e, k);
  copyRows(h.v, h.kStep, h.Tk, h.width, 1, v);
  // The first block of queries writes gk and gv where it sees all keys, and adds to zeros where not; the last writes dk and dv.
  const bool fresh = h.Tq > 0 && keysFor(h, 0, h.Tq < size ? h.Tq : size) == h.Tk;
  if (!fresh)
    for (int64_t i = 0; i < all; i++) gk[i] = gv[i] = 0;
  for (int64_t head = 0; head < n; head++, h.q += h.width, out += h.width, dOut += h.width, dq += h.width, stats += 2 * h.Tq, h.drop.firstRow += uint32_t(h.Tq))
    for (int64_t i0 = 0; i0 < h.Tq; i0 += size) {
      const int64_t rows = h.Tq - i0 < size ? h.Tq - i0 : size, columns = wide(rows), keys = keysFor(h, i0, i0 + rows), step = evenly(keys, kKeys, 1);
      const bool add = !fresh || head > 0 || i0 > 0, last = head == n - 1 && i0 + rows == h.Tq, placed = last && whole;
      b.fill(h, out, dOut, stats, i0, rows);
      for (int64_t j0 = 0; j0 < keys; j0 += step) {
        const int64_t m = keys - j0 < step ? keys - j0 : step, at = j0 * padded;
        const bool done = j0 + m == keys;
        scores<ld>(h, k, b.qt, i0, columns, j0, m, p, ahead);
        b.soften(columns, m, p);
        if (h.drop.below) {
          product<false>(m, columns, h.width, v + at, padded, b.got, ld, Put{ds, ld, nullptr, 0, 1}, ahead);
          dropSlopes(h, b, columns, j0, m, p, ds);
        } else product<false>(m, columns, h.width, v + at, padded, b.got, ld, Slopes{p, b.along, ds}, ahead);
        const auto keysInto = [=](float* gradient, float* sum, float scale) {
          return Put{placed ? gradient + j0 * h.kStep : sum + at, placed ? h.kStep : padded, add ? sum + at : nullptr, padded, scale};
        };
        product<false>(m, padded, rows, p, ld, b.go, padded, keysInto(dv, gv, 1), ahead);
        product<false>(m, padded, rows, ds, ld, b.q, padded, keysInto(dk, gk, last ? h.scale : 1), ahead);
        product<true>(rows, padded, m, ds, ld, k + at, padded,
                      Put{done && whole ? dq + i0 * h.qStep : gq, done && whole ? h.qStep : padded, j0 > 0 ? gq : nullptr, padded, done ? kLn2 : 1}, ahead);
      }
      if (!whole) putRows(gq, rows, h.width, dq + i0 * h.qStep, h.qStep);
    }
  if (whole && h.Tq > 0) return;
  putRows(gk, h.Tk, h.width, dk, h.kStep);
  putRows(gv, h.Tk, h.width, dv, h.kStep);
}

}  // namespace GRAFT_ISA
}  // namespace graft
