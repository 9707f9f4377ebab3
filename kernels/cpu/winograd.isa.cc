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

inline vf loadSome(const float* x, int64_t n) {
  if (n >= kLanes) return load(x);
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; i++) lanes[i] = x[i];
  return load(lanes);
}

inline void storeSome(float* y, vf v, int64_t n) {
  if (n >= kLanes) return store(y, v);
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t i = 0; i < n; i++) y[i] = lanes[i];
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

template <bool Whole>
inline void input(const float* x, int64_t rowStep, TileEdges inside, int64_t channels, float* u, int64_t step) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    vf rows[kTileIn][kTileIn];
#pragma GCC unroll 6
    for (int j = 0; j < kTileIn; j++) {
      vf d[kTileIn], t[kTileIn];
#pragma GCC unroll 6
      for (int i = 0; i < kTileIn; i++) {
        const bool there = Whole || (i >= inside.top && i < inside.bottom && j >= inside.left && j < inside.right);
        d[i] = there ? loadSome(x + i * rowStep + j * channels + c, channels - c) : vf{};
      }
      toPoints(d, t);
#pragma GCC unroll 6
      for (int i = 0; i < kTileIn; i++) rows[i][j] = t[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < kTileIn; i++) {
      vf t[kTileIn];
      toPoints(rows[i], t);
#pragma GCC unroll 6
      for (int j = 0; j < kTileIn; j++) store(u + (i * kTileIn + j) * step + c, t[j]);
    }
  }
}

template <bool Whole>
inline void output(const float* m, int64_t step, int64_t channels, const float* bias, float* y, int64_t rowStep, TileEdges inside) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    vf columns[kTileOut][kTileIn];
#pragma GCC unroll 6
    for (int j = 0; j < kTileIn; j++) {
      vf d[kTileIn], t[kTileOut];
#pragma GCC unroll 6
      for (int i = 0; i < kTileIn; i++) d[i] = load(m + (i * kTileIn + j) * step + c);
      fromPoints(d, t);
#pragma GCC unroll 4
      for (int i = 0; i < kTileOut; i++) columns[i][j] = t[i];
    }
    const vf start = bias ? loadSome(bias + c, channels - c) : vf{};
#pragma GCC unroll 4
    for (int i = 0; i < kTileOut; i++) {
      vf t[kTileOut];
      fromPoints(columns[i], t);
#pragma GCC unroll 4
      for (int j = 0; j < kTileOut; j++)
        if (Whole || (i < inside.bottom && j < inside.right)) storeSome(y + i * rowStep + j * channels + c, t[j] + start, channels - c);
    }
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
