// Products with few columns or few rows on floats where they lie: packing the large operand would cost more than multiplying it.
// Every sum is formed in the order of the packed products.
#pragma once
#include <cstdint>

#include "dispatch.h"

namespace graft {

/** More columns (or rows) are not few. */
inline constexpr int64_t kThin = 32;

/**
 * C = alpha · A B + add + bias, element (i, j) of C at c[i·ci + j·cj]; add as C, bias by bi·i + bj·j; both may be null. Element (i, p) of A
 * at a[i·ar + p·ap], (p, j) of B at b[p·bp + j], where b may be read up to the next whole vector of every row.
 */
struct Thin {
  const float* a;
  int64_t ar, ap;
  const float* b;
  int64_t bp, k;
  float* c;
  int64_t ci, cj;
  float alpha;
  const float *add, *bias;
  int64_t bi, bj;
};

/** Rows [i0, i1) and columns [j0, j1) of C. */
GRAFT_VARIANTS(void, thin, (const Thin& x, int64_t i0, int64_t i1, int64_t j0, int64_t j1))

}  // namespace graft
