// Matrix products in single precision, operands of any float storage.
#include "gemm.cuh"
#include "tile.cuh"

/** `pairs` (or null): for each matrix of C the numbers of those of A and of B. Blocks: [n / 64, m / 64, matrices], the last from `first` on. */
KERNEL(256, gemm, const void* a, const void* b, float* c, const float* add, const float* bias, float* before, const Index* pairs, Index first, Gemm g) {
  const Index matrix = first + blockIdx.z, row0 = Index(blockIdx.y) * kTile, column0 = Index(blockIdx.x) * kTile;
  const Index fromA = pairs ? pairs[2 * matrix] * g.sizeA : 0, fromB = pairs ? pairs[2 * matrix + 1] * g.sizeB : 0;
  const TileLane lane;
  float sum[4][4] = {};
  multiplyTiles(row0, g.m, column0, g.n, 0, g.k, g.columnA == 1, g.rowB == 1,
                [=](Index i, Index p) { return loadFloat(a, g.storageA, fromA + i * g.rowA + p * g.columnA); },
                [=](Index j, Index p) { return loadFloat(b, g.storageB, fromB + p * g.rowB + j * g.columnB); }, sum);
  const Finish finish = {c, add, bias, before};
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const Index row = row0 + lane.row + i, column = column0 + lane.column + j;
      if (row < g.m && column < g.n) finish(g, (matrix * g.m + row) * g.n + column, column, sum[i][j]);
    }
}
