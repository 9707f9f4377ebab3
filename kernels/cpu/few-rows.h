// Products of a few rows with a large matrix, which is read once, where and as it lies: as fast as memory gives it.
#pragma once
#include <cstdint>

#include "dispatch.h"

namespace graft {

/** More rows than this are worth packing the matrix for. */
inline constexpr int64_t kFewRows = 4;

/**
 * Columns [begin, end) of C (m × n) = A B, m ≤ kFewRows; rows of A are ar floats apart. B as stored (Storage as int): its columns one
 * after another, k values each …
 */
GRAFT_VARIANTS(void, rowsByColumns, (const float* a, int64_t ar, int64_t m, const void* b, int storage, int64_t k, int64_t begin, int64_t end,
                                     float* c, int64_t ldc))
/** … or its rows, n values each. */
GRAFT_VARIANTS(void, rowsByRows, (const float* a, int64_t ar, int64_t m, const void* b, int storage, int64_t k, int64_t n, int64_t begin,
                                  int64_t end, float* c, int64_t ldc))

}  // namespace graft
