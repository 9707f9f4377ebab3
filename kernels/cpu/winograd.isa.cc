#include "winograd.h"

#include "tile.h"

// Interpolation at 0, ±√½, ±√2 and ∞: errors are about twice those of a direct sum, where the customary 0, ±1, ±2, ∞ give five times.
namespace graft {
namespace GRAFT_ISA {

namespace {

constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;

/** Bᵀ d: row i holds the coefficients of the polynomial that is 0 at all points but the i-th. */
inline __attribute__((always_inline)) void toPoints(const vf (&d)[kTileIn], vf (&t)[kTileIn]) {
  const vf evenA = d[4] - 2.0f * d[2], oddA = d[3] - 2.0f * d[1], evenB = d[4] - 0.5f * d[2], oddB = d[3] - 0.5f * d[1];
  t[0] = d[0] - 2.5f * d[2] + d[4];
  t[1] = evenA + kA * oddA;
  t[2] = evenA - kA * oddA;
  t[3] = evenB + kB * oddB;
  t[4] = evenB - kB * oddB;
  t[5] = d[1] - 2.5f * d[3] + d[5];
}

/** Aᵀ m: the powers of the points. */
inline __attribute__((always_inline)) void fromPoints(const vf (&m)[kTileIn], vf (&y)[kTileOut]) {
  const vf sumA = m[1] + m[2], sumB = m[3] + m[4], differenceA = kA * (m[1] - m[2]), differenceB = kB * (m[3] - m[4]);
  y[0] = m[0] + sumA + sumB;
  y[1] = differenceA + differenceB;
  y[2] = 0.5f * sumA + 2.0f * sumB;
  y[3] = 0.5f * differenceA + 2.0f * differenceB + m[5];
}

struct Rows {
  template <int R, int V>
  static void run(int64_t first, const float* u, int64_t uRow, const float* v, int64_t depth, float* y, int64_t yRow) {
    vf acc[R][V] = {};
    multiply<R, V>(u + first * uRow, uRow, 1, v, kTileColumns, depth, acc);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int c = 0; c < V; c++) store(y + (first + r) * yRow + c * kLanes, acc[r][c]);
  }
};

/** put(i, j, value) ← T d Tᵀ of one vector of channels, d at (i, j) being at(i, j), for a transform T with M rows: first down the columns, then along the rows. */
template <int M, class At, class Put>
inline __attribute__((always_inline)) void bothWays(void (*transform)(const vf (&)[kTileIn], vf (&)[M]), const At& at, const Put& put) {
  vf half[M][kTileIn];
#pragma GCC unroll 6
  for (int j = 0; j < kTileIn; j++) {
    vf d[kTileIn], t[M];
#pragma GCC unroll 6
    for (int i = 0; i < kTileIn; i++) d[i] = at(i, j);
    transform(d, t);
#pragma GCC unroll 6
    for (int i = 0; i < M; i++) half[i][j] = t[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < M; i++) {
    vf t[M];
    transform(half[i], t);
#pragma GCC unroll 6
    for (int j = 0; j < M; j++) put(i, j, t[j]);
  }
}

template <bool Whole>
inline void input(const float* x, int64_t rowStep, TileEdges inside, int64_t channels, float* u, int64_t step) {
  for (int64_t c = 0; c < channels; c += kLanes)
    bothWays(toPoints, [&](int i, int j) {
      const bool there = Whole || (i >= inside.top && i < inside.bottom && j >= inside.left && j < inside.right);
      return there ? loadSome(x + i * rowStep + j * channels + c, channels - c) : vf{};
    }, [&](int i, int j, vf value) { store(u + (i * kTileIn + j) * step + c, value); });
}

template <bool Whole>
inline void output(const float* m, int64_t step, int64_t channels, const float* bias, float* y, int64_t rowStep, TileEdges inside) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const vf start = bias ? loadSome(bias + c, channels - c) : vf{};
    bothWays(fromPoints, [&](int i, int j) { return load(m + (i * kTileIn + j) * step + c); }, [&](int i, int j, vf value) {
      if (Whole || (i < inside.bottom && j < inside.right)) storeSome(y + i * rowStep + j * channels + c, value + start, channels - c);
    });
  }
}

}  // namespace

void winogradInput(const float* x, int64_t rowStep, TileEdges inside, int64_t channels, float* u, int64_t step) {
  const bool whole = inside.top == 0 && inside.bottom == kTileIn && inside.left == 0 && inside.right == kTileIn;
  if (whole) input<true>(x, rowStep, inside, channels, u, step);
  else input<false>(x, rowStep, inside, channels, u, step);
}

void winogradProduct(const float* u, int64_t uRow, const float* v, int64_t depth, float* y, int64_t yRow, int64_t tiles, int64_t cols) {
  if (cols > kLanes) inTiles<Rows, 2>(tiles, u, uRow, v, depth, y, yRow);
  else inTiles<Rows, 1>(tiles, u, uRow, v, depth, y, yRow);
}

void winogradOutput(const float* m, int64_t step, int64_t channels, const float* bias, float* y, int64_t rowStep, TileEdges inside) {
  const bool whole = inside.bottom == kTileOut && inside.right == kTileOut;
  if (whole) output<true>(m, step, channels, bias, y, rowStep, inside);
  else output<false>(m, step, channels, bias, y, rowStep, inside);
}

}  // namespace GRAFT_ISA
}  // namespace graft
