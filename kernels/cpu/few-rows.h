// Products of a few rows with a large matrix, which is read once, where and as it lies: as fast as memory gives it. Every value is summed
// in the order of the packed products, so that a row gives the same bytes alone as among others.
#pragma once
#include <cstdint>

#include "dispatch.h"

namespace graft {

/** More rows than this are worth packing the matrix for. */
inline constexpr int64_t kFewRows = 4;

/** A (m × k, m ≤ kFewRows; rows ar floats apart) times B, as stored (Storage as int); see Epilogue for what follows. */
struct FewRows {
  const float* a;
  int64_t ar, m, k;
  const void* b;
  int storage;
  float* c;
  int64_t n;
  float alpha;
  const float *add, *bias;
};

/** Columns [begin, end) of C (m × n), the columns of B lying one after another, k values each … */
GRAFT_VARIANTS(void, rowsByColumns, (const FewRows& x, int64_t begin, int64_t end))
/** … or its rows, n values each. */
GRAFT_VARIANTS(void, rowsByRows, (const FewRows& x, int64_t begin, int64_t end))

}  // namespace graft
