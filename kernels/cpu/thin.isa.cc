#include "thin.h"

#include "panels.h"
#include "tile.h"

namespace graft {
namespace GRAFT_ISA {
namespace {

/** One tile's part of the sums over depth [p, p + depth): `columns` of its V vectors are there. */
struct Tile {
  template <int R, int V>
  static void run(int64_t first, const Thin& x, int64_t i0, int64_t j, int64_t columns, int64_t p, int64_t depth) {
    const int64_t i = i0 + first;
    vf acc[R][V] = {};
    multiply<R, V>(x.a + i * x.ar + p * x.ap, x.ar, x.ap, x.b + p * x.bp + j, x.bp, depth, acc);
    const float* add = p == 0 ? x.add : x.c;
    const float* bias = p + depth == x.k ? x.bias : nullptr;
    if (!add && !bias && x.cj == 1 && columns == V * kLanes) {
#pragma GCC unroll 16
      for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) store(x.c + (i + r) * x.ci + j + v * kLanes, acc[r][v] * x.alpha);
      return;
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      float sums[V * kLanes];
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) store(sums + v * kLanes, acc[r][v] * x.alpha);
      for (int64_t l = 0; l < columns; l++) {
        const int64_t at = (i + r) * x.ci + (j + l) * x.cj;
        float y = sums[l];
        if (add) y += add[at];
        if (bias) y += bias[(i + r) * x.bi + (j + l) * x.bj];
        x.c[at] = y;
      }
    }
  }
};

}  // namespace

void thin(const Thin& x, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  for (int64_t p = 0; p == 0 || p < x.k; p += kDepth) {
    const int64_t depth = x.k - p < kDepth ? x.k - p : kDepth;
    for (int64_t j = j0; j < j1; j += 2 * kLanes) {
      const int64_t columns = j1 - j < 2 * kLanes ? j1 - j : 2 * kLanes;
      if (columns > kLanes) inTiles<Tile, 2, const Thin&>(i1 - i0, x, i0, j, columns, p, depth);
      else inTiles<Tile, 1, const Thin&>(i1 - i0, x, i0, j, columns, p, depth);
    }
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
