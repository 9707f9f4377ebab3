// Single-precision matrix products by packed panels (Goto & van de Geijn, 2008; Van Zee & van de Geijn, 2015).
#pragma once
#include <cstdint>

#include "core.h"

namespace graft {

/** One operand: element (i, j) of the matrix lies at data[i · rowStride + j · columnStride]. */
struct Operand {
  const void* data;
  Storage storage;
  int64_t rowStride, columnStride;
};

/** What happens to A B on its way out: y = act(alpha · A B + add + bias). */
struct Epilogue {
  float alpha = 1;
  const float* add = nullptr;   // m × n, laid out as C
  const float* bias = nullptr;  // n
  int activation = -1;          // Unary, or -1
  float* before = nullptr;      // m × n: also keeps what the activation is applied to
};

/** B, packed as a whole: panels of gemmTile's columns, one block of panels per kDepth rows. */
int64_t packedFloats(int64_t n, int64_t k);
void packWhole(const Operand& b, int64_t n, int64_t k, float* out);

/** C (m × n, dense) = epilogue(A B); `packed` is B from packWhole, or null. The same bytes for every number of threads. */
void gemm(const Operand& a, const Operand& b, const float* packed, int64_t m, int64_t n, int64_t k, float* c, const Epilogue& epilogue = {});

}  // namespace graft
