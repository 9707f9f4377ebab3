// Matrix products on the tensor cores in bf16 where cuBLASLt is not there, and those of coded weights, which are decoded on their way into
// shared memory. Blocks: [n / 64, m / 128].
#include "coded.cuh"
#include "gemm.cuh"
#include "tile-bf16.cuh"

/** Reads an operand of floats, eight at a time: `between` elements apart, and each time `jump` further. */
struct FloatCursor {
  const void* x;
  int storage;
  bool whole, along;              // whole: the eight lie in a row, at a place that 16 bytes divide; along: they are of the depth
  Index at, between, jump, left;  // left: of the depth
  int count;                      // how many there are of eight that are not of the depth
  inline Eight next() {
    const Index from = at, n = along ? left : left > 0 ? count : 0;
    at += jump, left -= kTileDepth;
    if (n <= 0) return {};
    return whole && n >= 8 ? loadEight(x, storage, from) : gatherEight(x, storage, from, between, n < 8 ? int(n) : 8);
  }
};

/** Reads a coded matrix [rows, columns], whose columns 8 divides. */
template <class Codes>
struct CodedCursor {
  const Codes& codes;
  Index at, row, jump, rows, left;
  inline Eight next() {
    const Index from = at, of = row;
    const bool there = left > 0;
    at += jump, row += rows, left -= kTileDepth;
    return there ? codes.at(from, of) : Eight{};
  }
};

template <bool along, class B>
inline void multiplyBf16(const void* a, const Finish& finish, const Gemm& g, Index row0, Index column0, const B& b) {
  float sum[2][4][4] = {};
  multiplyTilesBf16<along>(g.k, [=](int i, int p) -> FloatCursor {
    const Index row = row0 + i;
    return {a, g.storageA, (g.vectors & 1) != 0, true, row * g.rowA + p * g.columnA, g.columnA, kTileDepth * g.columnA, row < g.m ? g.k - p : 0, 8};
  }, b, sum);
  const TileBf16Lane lane;
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 4; j++)
      for (int e = 0; e < 4; e++) {
        const Index row = row0 + lane.row(i, e), column = column0 + lane.column(j, e);
        if (row < g.m && column < g.n) finish(g, row * g.n + column, column, sum[i][j][e]);
      }
}

template <bool along>
inline void multiplyFloats(const void* a, const void* b, const Finish& finish, const Gemm& g) {
  const Index row0 = Index(blockIdx.y) * kTileRows, column0 = Index(blockIdx.x) * kTileColumns;
  multiplyBf16<along>(a, finish, g, row0, column0, [=](int j, int p) -> FloatCursor {
    const Index column = column0 + j, at = p * g.rowB + column * g.columnB;
    if (along) return {b, g.storageB, (g.vectors & 2) != 0, true, at, g.rowB, kTileDepth * g.rowB, column < g.n ? g.k - p : 0, 8};
    return {b, g.storageB, (g.vectors & 2) != 0, false, at, g.columnB, kTileDepth * g.rowB, g.k - p, int(g.n - column < 8 ? g.n - column : 8)};
  });
}

/** B is [n, k] where its rows are read along the depth, else [k, n]. */
template <bool along, class Codes>
inline void multiplyCodes(const void* a, const void* memory, const Finish& finish, const CodedParts& parts, const Gemm& g) {
  const Codes codes(static_cast<const uint8_t*>(memory), parts);
  const Index row0 = Index(blockIdx.y) * kTileRows, column0 = Index(blockIdx.x) * kTileColumns;
  multiplyBf16<along>(a, finish, g, row0, column0, [&](int j, int p) -> CodedCursor<Codes> {
    const Index column = column0 + j, left = column < g.n ? g.k - p : 0;
    if (along) return {codes, column * g.k + p, column, kTileDepth, 0, left};
    return {codes, p * g.n + column, p, kTileDepth * g.n, kTileDepth, left};
  });
}

#define GRAFT_OPERANDS const void *a, const void *b, float *c, const float *add, const float *bias, float *before
KERNEL(256, gemmBf16Along, GRAFT_OPERANDS, Gemm g) { multiplyFloats<true>(a, b, {c, add, bias, before}, g); }
KERNEL(256, gemmBf16Across, GRAFT_OPERANDS, Gemm g) { multiplyFloats<false>(a, b, {c, add, bias, before}, g); }
KERNEL(256, gemmNf4Along, GRAFT_OPERANDS, CodedParts p, Gemm g) { multiplyCodes<true, Nf4Codes>(a, b, {c, add, bias, before}, p, g); }
KERNEL(256, gemmNf4Across, GRAFT_OPERANDS, CodedParts p, Gemm g) { multiplyCodes<false, Nf4Codes>(a, b, {c, add, bias, before}, p, g); }
KERNEL(256, gemmInt8Along, GRAFT_OPERANDS, CodedParts p, Gemm g) { multiplyCodes<true, Int8Codes>(a, b, {c, add, bias, before}, p, g); }
KERNEL(256, gemmInt8Across, GRAFT_OPERANDS, CodedParts p, Gemm g) { multiplyCodes<false, Int8Codes>(a, b, {c, add, bias, before}, p, g); }
