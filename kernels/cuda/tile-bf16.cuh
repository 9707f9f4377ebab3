// A 128 x 64 tile of a matrix product on the tensor cores by 256 threads: operands in bf16, of whatever they are read from, sums in float32.
// Each of 8 warps has 32 x 32 of it. While a warp multiplies one stretch of the depth, its threads already read the next.
#pragma once

#include "eight.cuh"
#include "tile-bf16.h"

/** Rows of the tile in shared memory, in Eights: lanes that read a fragment meet different banks. */
constexpr int kAlongRow = kTileDepth / 8 + 1, kAcrossRow = kTileColumns / 8 + 1;

/** Element e of sums of `multiplyTilesBf16` of this thread: its place in the tile. */
struct TileBf16Lane {
  int warp = int(threadIdx.x >> 5), g = int(threadIdx.x & 31) >> 2, t = int(threadIdx.x & 3);
  int row(int i, int e) const { return warp / 2 * 32 + i * 16 + g + (e < 2 ? 0 : 8); }
  int column(int j, int e) const { return warp % 2 * 32 + j * 8 + 2 * t + (e & 1); }
};

/**
 * sum = A B over `depth`. `a(row, p)` makes what reads A at a row of the tile: its `next()` gives eight values of the depth from p on, then
 * those kTileDepth further, zeros beyond the depth and the rows there are. So does `b(column, p)` where B is read along the depth;
 * else `b(column, p)` gives eight columns at depth p, and then those at kTileDepth further.
 */
template <bool along, class A, class B>
inline void multiplyTilesBf16(Index depth, const A& a, const B& b, float (&sum)[2][4][4]) {
  SHARED(Eight, tileA, 2 * kTileRows * kAlongRow);
  SHARED(Eight, tileB, 2 * (along ? kTileColumns * kAlongRow : kTileDepth * kAcrossRow));
  constexpr int sizeA = kTileRows * kAlongRow, sizeB = along ? kTileColumns * kAlongRow : kTileDepth * kAcrossRow;
  const int thread = int(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int rowA = thread / 4, part = thread % 4, rowB = along ? thread / 4 : thread / 8, partB = along ? thread % 4 : thread % 8;
  auto a0 = a(rowA, part * 8), a1 = a(rowA + 64, part * 8);
  auto from = along ? b(rowB, partB * 8) : b(partB * 8, rowB);
  const int atA = rowA * kAlongRow + part, atB = rowB * (along ? kAlongRow : kAcrossRow) + partB;
  tileA[atA] = a0.next();
  tileA[atA + 64 * kAlongRow] = a1.next();
  tileB[atB] = from.next();
  __syncthreads();
  int stage = 0;
  for (Index p0 = 0; p0 < depth; p0 += kTileDepth, stage ^= 1) {
    const bool more = p0 + kTileDepth < depth;
    Eight nextA0 = {}, nextA1 = {}, nextB = {};
    if (more) nextA0 = a0.next(), nextA1 = a1.next(), nextB = from.next();
    const auto *ofA = reinterpret_cast<const uint16_t*>(tileA + stage * sizeA), *ofB = reinterpret_cast<const uint16_t*>(tileB + stage * sizeB);
#pragma unroll
    for (int k = 0; k < kTileDepth; k += 16) {
      uint32_t x[2][4];
#pragma unroll
      for (int i = 0; i < 2; i++) loadMatrices(x[i], ofA + (warp / 2 * 32 + i * 16 + lane % 16) * kAlongRow * 8 + k + lane / 16 * 8);
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        uint32_t y[4];
        const int column = warp % 2 * 32 + j * 8;
        if (along) loadMatrices(y, ofB + (column + lane / 16 * 8 + lane % 8) * kAlongRow * 8 + k + lane / 8 % 2 * 8);
        else loadTransposed(y, ofB + (k + lane % 16) * kAcrossRow * 8 + column + lane / 16 * 8);
#pragma unroll
        for (int i = 0; i < 2; i++) {
          multiplyTile(sum[i][j], x[i], y[0], y[1]);
          multiplyTile(sum[i][j + 1], x[i], y[2], y[3]);
        }
      }
    }
    if (more) {
      const int other = stage ^ 1;
      tileA[other * sizeA + atA] = nextA0;
      tileA[other * sizeA + atA + 64 * kAlongRow] = nextA1;
      tileB[other * sizeB + atB] = nextB;
    }
    __syncthreads();
  }
}
