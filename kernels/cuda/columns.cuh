// Sums down the columns of a matrix, in a fixed order: one block of 32 x 8 threads for 32 columns and a chunk of rows.
#pragma once

#include "device.cuh"

/** partial[chunk · n + column] = the fold of f(row, column), in double precision, over the chunk's rows. Blocks: [n / 32, chunks]. */
template <class F, class Fold>
inline void foldColumns(Index rows, Index n, Index perChunk, double identity, double* partial, F f, Fold fold) {
  SHARED(double, sums, 256);
  const unsigned lane = threadIdx.x & 31, group = threadIdx.x >> 5;
  const Index column = Index(blockIdx.x) * 32 + lane, begin = blockIdx.y * perChunk, end = begin + perChunk < rows ? begin + perChunk : rows;
  double total = identity;
  if (column < n)
    for (Index row = begin + group; row < end; row += 8) total = fold(total, f(row, column));
  sums[threadIdx.x] = total;
  __syncthreads();
  if (group == 0 && column < n) {
    for (unsigned g = 1; g < 8; g++) total = fold(total, sums[g * 32 + lane]);
    partial[blockIdx.y * n + column] = total;
  }
}
