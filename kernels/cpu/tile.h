// The size of the register tile, and the tile that matrix products on unpacked operands share: C[R × V·lanes] += A · B, where element (r, p) of A lies at
// a[r·ar + p·ap] and row p of B at b[p·bp]. For *.isa.cc files.
#pragma once

#include "simd.h"

namespace graft {
namespace GRAFT_ISA {

#if defined(__AVX512F__)
static constexpr int kTileRows = 14;
#else
static constexpr int kTileRows = 6;
#endif
static constexpr int kTileColumns = 2 * kLanes;

template <int R, int V>
static inline __attribute__((always_inline)) void multiply(const float* a, int64_t ar, int64_t ap, const float* b, int64_t bp, int64_t depth,
                                                           vf (&acc)[R][V]) {
  for (int64_t p = 0; p < depth; p++, a += ap, b += bp) {
    vf row[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) row[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const vf x = set1(a[r * ar]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) acc[r][v] += x * row[v];
    }
  }
}

/** A vector of the first n values, zeros beyond. */
static inline vf loadSome(const float* x, int64_t n) {
  if (n >= kLanes) return load(x);
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; i++) lanes[i] = x[i];
  return load(lanes);
}

/** The first n values of a vector. */
static inline void storeSome(float* y, vf v, int64_t n) {
  if (n >= kLanes) return store(y, v);
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t i = 0; i < n; i++) y[i] = lanes[i];
}

/** Calls F::run<R, V>(args...) for the given R in 1 … kTileRows. */
template <class F, int V, int R = kTileRows, class... Args>
static inline void withRows(int rows, Args... args) {
  if (rows == R) return F::template run<R, V>(args...);
  if constexpr (R > 1) withRows<F, V, R - 1>(rows, args...);
}

/** Cuts n rows into tiles of nearly equal height: calls F::run<R, V>(first row, args...). */
template <class F, int V, class... Args>
static inline void inTiles(int64_t n, Args... args) {
  const int64_t tiles = (n + kTileRows - 1) / kTileRows;
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t begin = n * t / tiles, end = n * (t + 1) / tiles;
    withRows<F, V>(int(end - begin), begin, args...);
  }
}

}  // namespace GRAFT_ISA
}  // namespace graft
