// Matrix products in single precision, operands of any float storage.
#include "gemm.h"
#include "math.cuh"
#include "tile.cuh"

inline float operand(const void* x, int storage, Index i, int narrow) {
  const float value = loadFloat(x, storage, i);
  return narrow ? bf16ToFloat(floatToBf16(value)) : value;
}

/** `pairs` (or null): for each matrix of C the numbers of those of A and of B. Blocks: [n / 64, m / 64, matrices], the last from `first` on. */
KERNEL(256, gemm, const void* a, const void* b, float* c, const float* add, const float* bias, float* before, const Index* pairs, Index first, Gemm g) {
  const Index matrix = first + blockIdx.z, row0 = Index(blockIdx.y) * kTile, column0 = Index(blockIdx.x) * kTile;
  const Index fromA = pairs ? pairs[2 * matrix] * g.sizeA : 0, fromB = pairs ? pairs[2 * matrix + 1] * g.sizeB : 0;
  const TileLane lane;
  float sum[4][4] = {};
  multiplyTiles(row0, g.m, column0, g.n, 0, g.k, g.columnA == 1, g.rowB == 1,
                [=](Index i, Index p) { return operand(a, g.storageA, fromA + i * g.rowA + p * g.columnA, g.narrow); },
                [=](Index j, Index p) { return operand(b, g.storageB, fromB + p * g.rowB + j * g.columnB, g.narrow); }, sum);
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const Index row = row0 + lane.row + i, column = column0 + lane.column + j, at = (matrix * g.m + row) * g.n + column;
      if (row >= g.m || column >= g.n) continue;
      float value = g.alpha * sum[i][j] + (add ? add[at] : 0.f) + (bias ? bias[column] : 0.f);
      if (before) before[at] = value;
      if (g.activation >= 0) value = unaryValue(g.activation, value, 0.f, 0.f);
      c[at] = value;
    }
}
