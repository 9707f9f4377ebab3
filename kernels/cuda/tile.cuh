// A 64 x 64 tile of a matrix product in single precision by 256 threads, 4 x 4 each, of whatever its operands are read from.
#pragma once

#include "device.cuh"
#include "tile.h"

struct TileLane {
  int row = int(threadIdx.x) / 16 * 4, column = int(threadIdx.x) % 16 * 4;
};

/** 64 rows (or columns) from `first` on and 16 of the depth, transposed; `along`: neighbouring threads read along the depth. */
template <class Read>
inline void loadTile(Index first, Index count, Index p0, Index end, bool along, float* tile, const Read& read) {
  for (int e = int(threadIdx.x); e < kTile * kDepth; e += 256) {
    const int i = along ? e / kDepth : e % kTile, p = along ? e % kDepth : e / kTile;
    tile[p * (kTile + 1) + i] = first + i < count && p0 + p < end ? read(first + i, p0 + p) : 0.f;
  }
}

/** sum += Σ_p a(row, p) b(column, p) for p in [begin, end), of the tile's part of m rows and n columns. */
template <class A, class B>
inline void multiplyTiles(Index row0, Index m, Index column0, Index n, Index begin, Index end, bool alongA, bool alongB, const A& a, const B& b, float (&sum)[4][4]) {
  SHARED(float, tileA, kDepth * (kTile + 1));
  SHARED(float, tileB, kDepth * (kTile + 1));
  const TileLane lane;
  for (Index p0 = begin; p0 < end; p0 += kDepth) {
    loadTile(row0, m, p0, end, alongA, tileA, a);
    loadTile(column0, n, p0, end, alongB, tileB, b);
    __syncthreads();
    for (int p = 0; p < kDepth; p++) {
      float x[4], y[4];
      for (int i = 0; i < 4; i++) x[i] = tileA[p * (kTile + 1) + lane.row + i], y[i] = tileB[p * (kTile + 1) + lane.column + i];
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) sum[i][j] += x[i] * y[j];
    }
    __syncthreads();
  }
}
