// Matrix products in single precision, operands of any float storage: tiles of 64 x 64 by 256 threads, 4 x 4 each.
#include "gemm.h"
#include "math.cuh"

/** A tile of 64 rows (or columns) and 16 of the depth, transposed, zero beyond the matrix; read along whichever axis lies in memory. */
inline void loadTile(const void* x, int storage, Index offset, Index first, Index count, Index step, Index depth0, Index depth, Index depthStep, float* tile) {
  for (int e = threadIdx.x; e < kTile * kDepth; e += 256) {
    const int i = depthStep == 1 ? e / kDepth : e % kTile, p = depthStep == 1 ? e % kDepth : e / kTile;
    const bool inside = first + i < count && depth0 + p < depth;
    tile[p * (kTile + 1) + i] = inside ? loadFloat(x, storage, offset + (first + i) * step + (depth0 + p) * depthStep) : 0.f;
  }
}

/** `pairs` (or null): for each matrix of C the numbers of those of A and of B. Blocks: [n / 64, m / 64, matrices], the last from `first` on. */
KERNEL(256, gemm, const void* a, const void* b, float* c, const float* add, const float* bias, float* before, const Index* pairs, Index first, Gemm g) {
  SHARED(float, tileA, kDepth * (kTile + 1));
  SHARED(float, tileB, kDepth * (kTile + 1));
  const Index matrix = first + blockIdx.z, row0 = Index(blockIdx.y) * kTile, column0 = Index(blockIdx.x) * kTile;
  const Index fromA = pairs ? pairs[2 * matrix] * g.sizeA : 0, fromB = pairs ? pairs[2 * matrix + 1] * g.sizeB : 0;
  const int r = threadIdx.x / 16 * 4, s = threadIdx.x % 16 * 4;
  float sum[4][4] = {};
  for (Index p0 = 0; p0 < g.k; p0 += kDepth) {
    loadTile(a, g.storageA, fromA, row0, g.m, g.rowA, p0, g.k, g.columnA, tileA);
    loadTile(b, g.storageB, fromB, column0, g.n, g.columnB, p0, g.k, g.rowB, tileB);
    __syncthreads();
    for (int p = 0; p < kDepth; p++) {
      float x[4], y[4];
      for (int i = 0; i < 4; i++) x[i] = tileA[p * (kTile + 1) + r + i], y[i] = tileB[p * (kTile + 1) + s + i];
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) sum[i][j] += x[i] * y[j];
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const Index row = row0 + r + i, column = column0 + s + j, at = (matrix * g.m + row) * g.n + column;
      if (row >= g.m || column >= g.n) continue;
      float value = g.alpha * sum[i][j] + (add ? add[at] : 0.f) + (bias ? bias[column] : 0.f);
      if (before) before[at] = value;
      if (g.activation >= 0) value = unaryValue(g.activation, value, 0.f, 0.f);
      c[at] = value;
    }
}
