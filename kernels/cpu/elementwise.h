// Vectorised loops of element-wise operations.
#pragma once

#include <cstdint>

#include "dispatch.h"
#include "../common/operations.h"

namespace graft {

/** A block of rows of n elements; each operand steps by its row stride and, within a row, by 1 or 0. */
struct Rows {
  int64_t rows, n, rowA, stepA, rowB, stepB;
};

/** y = op(x); p and q are the operation's attributes. False where it has no loop. */
GRAFT_VARIANTS(bool, unaryLoop, (int op, const float* x, float* y, int64_t n, float p, float q))
/** y (rows · n, dense) = op(a, b). False where it has no loop. */
GRAFT_VARIANTS(bool, binaryLoopF32, (int op, const float* a, const float* b, float* y, Rows r))
GRAFT_VARIANTS(bool, binaryLoopI32, (int op, const int32_t* a, const int32_t* b, int32_t* y, Rows r))
GRAFT_VARIANTS(bool, compareLoopF32, (int op, const float* a, const float* b, uint8_t* y, Rows r))
GRAFT_VARIANTS(bool, compareLoopI32, (int op, const int32_t* a, const int32_t* b, uint8_t* y, Rows r))
GRAFT_VARIANTS(bool, compareLoopBool, (int op, const uint8_t* a, const uint8_t* b, uint8_t* y, Rows r))
/** y += x. */
GRAFT_VARIANTS(void, accumulate, (const float* x, float* y, int64_t n))
/** y = c ? t : e, each t and e stepping by 1. */
GRAFT_VARIANTS(void, selectLoop, (const uint8_t* c, const int32_t* t, const int32_t* e, int32_t* y, int64_t n))

}  // namespace graft
