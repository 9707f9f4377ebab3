// Single-precision matrix products by packed panels (Goto & van de Geijn, 2008; Van Zee & van de Geijn, 2015).
#pragma once
#include <cstdint>

#include "core.h"

namespace graft {

/** One operand: element (i, j) of the matrix lies at data[i · rowStride + j · columnStride]; where `coded` is set (of B alone), among its values. */
struct Operand {
  const void* data;
  Storage storage;
  int64_t rowStride, columnStride;
  const Coded* coded = nullptr;
};

/** What happens to A B on its way out: y = act(alpha · A B + add + bias). */
struct Epilogue {
  float alpha = 1;
  const float* add = nullptr;   // m × n, laid out as C
  const float* bias = nullptr;  // n
  int activation = -1;          // Unary, or -1
  float* before = nullptr;      // m × n: also keeps what the activation is applied to
  bool half = false;            // A and B are rounded to bf16 first; sums stay floats
};

/** B, packed as a whole, as floats or as pairs of bf16: panels of gemmTile's columns, one block of panels per kDepth units. */
int64_t packedBytes(bool half, int64_t n, int64_t k);
void packWhole(bool half, const Operand& b, int64_t n, int64_t k, void* out);

/** C (m × n, dense) = epilogue(A B); `packed` is B from packWhole (as epilogue.half says), or null. The same bytes for every number of threads. */
void gemm(const Operand& a, const Operand& b, const void* packed, int64_t m, int64_t n, int64_t k, float* c, const Epilogue& epilogue = {});

}  // namespace graft
