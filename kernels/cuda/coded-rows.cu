// A few rows times a coded matrix [n, k], as tokens are generated: a warp a column, which reads its codes once for all rows.
#include "coded.cuh"
#include "gemm.cuh"

/** Rounded to bf16, both. */
template <class Codes, int rows>
inline void multiplyRows(const void* x, const uint8_t* memory, const Finish& finish, const CodedParts& p, const Gemm& g) {
  const Codes codes(memory, p);
  const Index column = Index(blockIdx.x) * 8 + (threadIdx.x >> 5);
  const int lane = int(threadIdx.x & 31);
  if (column >= g.n) return;
  float sum[rows] = {};
#pragma unroll 2
  for (Index k = lane * 8; k < g.k; k += 256) {
    const Eight w = codes.at(column * g.k + k, column);
#pragma unroll
    for (int r = 0; r < rows; r++) {
      if (r >= g.m) break;
      const Eight v = loadEight(x, g.storageA, r * g.k + k);
#pragma unroll
      for (int i = 0; i < 8; i++) sum[r] += valueOf(w, i) * valueOf(v, i);
    }
  }
  float own = 0;  // lane r has row r
#pragma unroll
  for (int r = 0; r < rows; r++) {
    const float all = overWarp(sum[r], Add());
    if (lane == r) own = all;
  }
  if (lane < g.m) finish(g, lane * g.n + column, column, own);
}

#define CODED_ROWS(name, Codes, rows)                                                                                                                           \
  KERNEL(256, name##rows, const void* x, const uint8_t* memory, float* c, const float* add, const float* bias, float* before, CodedParts p, Gemm g) { \
    multiplyRows<Codes, rows>(x, memory, {c, add, bias, before}, p, g);                                                                                          \
  }
CODED_ROWS(nf4Rows, Nf4Codes, 1)
CODED_ROWS(nf4Rows, Nf4Codes, 2)
CODED_ROWS(nf4Rows, Nf4Codes, 4)
CODED_ROWS(nf4Rows, Nf4Codes, 8)
CODED_ROWS(int8Rows, Int8Codes, 1)
CODED_ROWS(int8Rows, Int8Codes, 2)
CODED_ROWS(int8Rows, Int8Codes, 4)
CODED_ROWS(int8Rows, Int8Codes, 8)
