#include "attention.h"

#include "hash.h"
#include "tile.h"
#include "transpose.h"

namespace graft {
namespace GRAFT_ISA {

static constexpr int64_t kKeys = 128;  // per block; the row length of the score buffers
static constexpr float kMasked = -1e9f;

static inline int64_t wide(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

namespace {

struct Product {
  template <int R, int V>
  static void run(int64_t first, const float* a, int64_t ar, int64_t ap, const float* b, int64_t bp, int64_t depth, float* c, int64_t ldc,
                  bool accumulate) {
    vf acc[R][V];
    c += first * ldc;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) acc[r][v] = accumulate ? load(c + r * ldc + v * kLanes) : vf{};
    multiply<R, V>(a + first * ar, ar, ap, b, bp, depth, acc);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) store(c + r * ldc + v * kLanes, acc[r][v]);
  }
};

/** C [rows, columns] (+)= A · B; columns is a multiple of kLanes. Element (r, p) of A is a[r·ar + p·ap]. */
void product(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t ar, int64_t ap, const float* b, int64_t bp, float* c, int64_t ldc,
             bool accumulate) {
  int64_t j = 0;
  for (; j + 2 * kLanes <= columns; j += 2 * kLanes) inTiles<Product, 2>(rows, a, ar, ap, b + j, bp, depth, c + j, ldc, accumulate);
  if (j < columns) inTiles<Product, 1>(rows, a, ar, ap, b + j, bp, depth, c + j, ldc, accumulate);
}

/** Rows of `width` floats, `step` apart, as rows of wide(width), zero beyond, times `scale`. */
void copyRows(const float* from, int64_t step, int64_t rows, int64_t width, float scale, float* to) {
  const int64_t padded = wide(width);
  for (int64_t i = 0; i < rows; i++, from += step, to += padded) {
    for (int64_t d = 0; d < width; d++) to[d] = from[d] * scale;
    for (int64_t d = width; d < padded; d++) to[d] = 0;
  }
}

/** The transpose [width, wide(rows)] of rows that are `step` apart, zero beyond. */
void transposeRows(const float* from, int64_t step, int64_t rows, int64_t width, float* to) {
  const int64_t padded = wide(rows);
  transpose(reinterpret_cast<const Unit*>(from), step, rows, width, padded, reinterpret_cast<Unit*>(to));
  for (int64_t d = 0; d < width; d++)
    for (int64_t i = rows; i < padded; i++) to[d * padded + i] = 0;
}

/** How many keys the queries before `end`, of the block at `begin`, have to look at. */
int64_t keysFor(const AttentionHead& h, int64_t begin, int64_t end) {
  if (!h.causal || begin < h.firstSure) return h.Tk;
  const int64_t seen = end + h.Tk - h.Tq;
  return seen < h.Tk ? seen : h.Tk;
}

/** Scores of queries [begin, begin + rows) and keys [j0, j0 + n), masks added, -inf up to the next whole vector. */
void scores(const AttentionHead& h, const float* q, const float* kt, int64_t begin, int64_t rows, int64_t j0, int64_t n, float* s) {
  product(rows, wide(n), h.width, q, wide(h.width), 1, kt + j0, wide(h.Tk), s, kKeys, false);
  for (int64_t i = 0; i < rows; i++) {
    float* row = s + i * kKeys;
    if (h.keyBias)
      for (int64_t j = 0; j < n; j++) row[j] += h.keyBias[j0 + j];
    if (h.causal) {
      const int64_t seen = begin + i + h.Tk - h.Tq + 1 - j0;
      for (int64_t j = seen > 0 ? seen : 0; j < n; j++) row[j] += kMasked;
    }
    for (int64_t j = n; j < wide(n); j++) row[j] = -__builtin_inff();
  }
}

/** x, the weights of keys [j, j + kLanes) for the query whose row hashes to `row`, with zeros where dropped. */
vf undropped(const Dropped& d, uint32_t row, int64_t j, vf x) { return d.below ? vselect(keptInRow(row, uint32_t(j), d.below), x, vf{}) : x; }

uint32_t rowHash(const Dropped& d, int64_t i) { return hashOf(d.firstRow + uint32_t(i), d.key0, d.key1); }

float exponential(float x) { return vexp(set1(x))[0]; }

}  // namespace

int64_t attentionScratch(int64_t Tk, int64_t width, bool gradient) {
  const int64_t block = kQueryBlock * wide(width), keys = (wide(Tk) + kLanes) * (wide(width) + kLanes);
  return gradient ? 5 * keys + 3 * block + 2 * kQueryBlock * kKeys : 2 * keys + 2 * block + kQueryBlock * kKeys;
}

namespace {

/** Below so many queries the keys are read where they lie: transposing them would cost more than it saves. */
constexpr int64_t kFew = 3;

/** One query after another over keys in place; `s` holds a row of scores. */
void forwardFew(const AttentionHead& h, int64_t begin, int64_t end, float* s, float* out, float* stats) {
  const int64_t whole = h.width / kLanes * kLanes;
  for (int64_t i = begin; i < end; i++) {
    const float* q = h.q + i * h.qStep;
    float* o = out + i * h.qStep;
    const int64_t keys = keysFor(h, i, i + 1);
    float top = -__builtin_inff();
    for (int64_t j = 0; j < keys; j++) {
      const float* k = h.k + j * h.kStep;
      vf sum = {};
      for (int64_t d = 0; d < whole; d += kLanes) sum += load(q + d) * load(k + d);
      float x = vsum(sum);
      for (int64_t d = whole; d < h.width; d++) x += q[d] * k[d];
      x = x * h.scale + (h.keyBias ? h.keyBias[j] : 0) + (h.causal && j > i + h.Tk - h.Tq ? kMasked : 0);
      s[j] = x;
      if (x > top) top = x;
    }
    for (int64_t j = keys; j < wide(keys); j++) s[j] = -__builtin_inff();
    const uint32_t hash = rowHash(h.drop, i);
    vf total = {};
    for (int64_t j = 0; j < keys; j += kLanes) {
      const vf p = vexp(load(s + j) - top);
      store(s + j, undropped(h.drop, hash, j, p));
      total += p;
    }
    const float all = vsum(total), scale = h.drop.keep / all;
    for (int64_t d = 0; d < h.width; d++) o[d] = 0;
    for (int64_t j = 0; j < keys; j++) {
      const float* v = h.v + j * h.kStep;
      const float p = s[j] * scale;
      for (int64_t d = 0; d < whole; d += kLanes) store(o + d, load(o + d) + p * load(v + d));
      for (int64_t d = whole; d < h.width; d++) o[d] += p * v[d];
    }
    stats[2 * i] = top;
    stats[2 * i + 1] = all;
  }
}

}  // namespace

void attentionForward(const AttentionHead& h, int64_t begin, int64_t end, float* scratch, float* out, float* stats) {
  if (h.Tq <= kFew) return forwardFew(h, begin, end, scratch, out, stats);
  const int64_t padded = wide(h.width);
  float *kt = scratch, *v = kt + h.width * wide(h.Tk), *q = v + h.Tk * padded, *o = q + kQueryBlock * padded, *s = o + kQueryBlock * padded;
  transposeRows(h.k, h.kStep, h.Tk, h.width, kt);
  copyRows(h.v, h.kStep, h.Tk, h.width, 1, v);
  for (int64_t i0 = begin; i0 < end; i0 += kQueryBlock) {
    const int64_t rows = end - i0 < kQueryBlock ? end - i0 : kQueryBlock, keys = keysFor(h, i0, i0 + rows);
    float most[kQueryBlock], total[kQueryBlock];
    copyRows(h.q + i0 * h.qStep, h.qStep, rows, h.width, h.scale, q);
    for (int64_t j0 = 0; j0 < keys; j0 += kKeys) {
      const int64_t n = keys - j0 < kKeys ? keys - j0 : kKeys;
      scores(h, q, kt, i0, rows, j0, n, s);
      for (int64_t i = 0; i < rows; i++) {
        float* row = s + i * kKeys;
        vf peak = load(row), sum = {};
        for (int64_t j = kLanes; j < n; j += kLanes) peak = vmax(peak, load(row + j));
        float top = vhmax(peak);
        if (j0 > 0 && most[i] > top) top = most[i];
        const uint32_t hash = rowHash(h.drop, i0 + i);
        for (int64_t j = 0; j < n; j += kLanes) {
          const vf p = vexp(load(row + j) - top);
          store(row + j, undropped(h.drop, hash, j0 + j, p));
          sum += p;
        }
        const float carried = j0 > 0 ? exponential(most[i] - top) : 0;
        if (j0 > 0 && carried != 1)
          for (int64_t d = 0; d < padded; d++) o[i * padded + d] *= carried;
        total[i] = (j0 > 0 ? total[i] * carried : 0) + vsum(sum);
        most[i] = top;
      }
      product(rows, padded, n, s, kKeys, 1, v + j0 * padded, padded, o, padded, j0 > 0);
    }
    for (int64_t i = 0; i < rows; i++) {
      const float scale = h.drop.keep / total[i];
      for (int64_t d = 0; d < h.width; d++) out[(i0 + i) * h.qStep + d] = o[i * padded + d] * scale;
      stats[2 * (i0 + i)] = most[i];
      stats[2 * (i0 + i) + 1] = total[i];
    }
  }
}

void attentionGradient(const AttentionHead& shared, int64_t n, const float* out, const float* dOut, const float* stats, float* scratch, float* dq,
                       float* dk, float* dv) {
  AttentionHead h = shared;
  const int64_t padded = wide(h.width), keysWide = wide(h.Tk);
  float *kt = scratch, *vt = kt + h.width * keysWide, *k = vt + h.width * keysWide, *gk = k + h.Tk * padded, *gv = gk + h.Tk * padded;
  float *q = gv + h.Tk * padded, *go = q + kQueryBlock * padded, *gq = go + kQueryBlock * padded, *p = gq + kQueryBlock * padded,
        *ds = p + kQueryBlock * kKeys;
  transposeRows(h.k, h.kStep, h.Tk, h.width, kt);
  transposeRows(h.v, h.kStep, h.Tk, h.width, vt);
  copyRows(h.k, h.kStep, h.Tk, h.width, 1, k);
  for (int64_t i = 0; i < h.Tk * padded; i++) gk[i] = gv[i] = 0;
  for (int64_t head = 0; head < n; head++, h.q += h.width, out += h.width, dOut += h.width, dq += h.width, stats += 2 * h.Tq, h.drop.firstRow += uint32_t(h.Tq))
    for (int64_t i0 = 0; i0 < h.Tq; i0 += kQueryBlock) {
      const int64_t rows = h.Tq - i0 < kQueryBlock ? h.Tq - i0 : kQueryBlock, keys = keysFor(h, i0, i0 + rows);
      copyRows(h.q + i0 * h.qStep, h.qStep, rows, h.width, h.scale, q);
      copyRows(dOut + i0 * h.qStep, h.qStep, rows, h.width, 1, go);
      float along[kQueryBlock];  // dOut · out, what the softmax takes off every score's gradient
      for (int64_t i = 0; i < rows; i++) {
        along[i] = 0;
        for (int64_t d = 0; d < h.width; d++) along[i] += go[i * padded + d] * out[(i0 + i) * h.qStep + d];
      }
      for (int64_t j0 = 0; j0 < keys; j0 += kKeys) {
        const int64_t m = keys - j0 < kKeys ? keys - j0 : kKeys;
        scores(h, q, kt, i0, rows, j0, m, p);
        product(rows, wide(m), h.width, go, padded, 1, vt + j0, keysWide, ds, kKeys, false);
        for (int64_t i = 0; i < rows; i++) {
          const float most = stats[2 * (i0 + i)], scale = 1 / stats[2 * (i0 + i) + 1];
          const uint32_t hash = rowHash(h.drop, i0 + i);
          for (int64_t j = 0; j < m; j += kLanes) {
            const vf weight = vexp(load(p + i * kKeys + j) - most) * scale;
            store(p + i * kKeys + j, undropped(h.drop, hash, j0 + j, weight * h.drop.keep));
            store(ds + i * kKeys + j, weight * (undropped(h.drop, hash, j0 + j, load(ds + i * kKeys + j) * h.drop.keep) - along[i]));
          }
        }
        product(rows, padded, m, ds, kKeys, 1, k + j0 * padded, padded, gq, padded, j0 > 0);
        product(m, padded, rows, ds, 1, kKeys, q, padded, gk + j0 * padded, padded, true);
        product(m, padded, rows, p, 1, kKeys, go, padded, gv + j0 * padded, padded, true);
      }
      for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < h.width; d++) dq[(i0 + i) * h.qStep + d] = gq[i * padded + d] * h.scale;
    }
  for (int64_t j = 0; j < h.Tk; j++)
    for (int64_t d = 0; d < h.width; d++) {
      dk[j * h.kStep + d] = gk[j * padded + d];
      dv[j * h.kStep + d] = gv[j * padded + d];
    }
}

}  // namespace GRAFT_ISA
}  // namespace graft
