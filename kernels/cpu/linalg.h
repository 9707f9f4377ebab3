// Inner loops of src/linalg in double precision on row-major matrices; src/linalg/dense.ts has the same in TypeScript, and their meaning.
#pragma once

#include "dispatch.h"

namespace graft {

GRAFT_VARIANTS(void, reflectRows, (double* M, int64_t r0, int64_t r1, int64_t n, const double* V, int64_t first, int64_t last, bool backward,
                                   int64_t shift, bool triangular))
/** Columns [j0, j1) only. */
GRAFT_VARIANTS(void, rotateColumns, (double* M, int64_t n, const int32_t* p, const int32_t* q, const double* c, const double* s, int64_t count,
                                     int64_t j0, int64_t j1))
/** w has space for n values. */
GRAFT_VARIANTS(void, bidiagonalise, (double* a, int64_t n, double* d, double* e, double* left, double* right, double* w))
GRAFT_VARIANTS(void, tridiagonalise, (double* a, int64_t n, double* d, double* e, double* V, double* w))
/** Columns of a panel of B. */
GRAFT_VARIANTS(int, panelColumns, ())
/** Rows [i0, i1) of C [m, ldc], `columns` ≤ panelColumns() of them: A (float32 or float64; element (i, p) at i·rs + p·cs) · panel [k, panelColumns()]. */
GRAFT_VARIANTS(void, multiplyPanel, (const void* a, bool single, int64_t rs, int64_t cs, const double* panel, int64_t i0, int64_t i1, int64_t k,
                                     int64_t columns, double* c, int64_t ldc))

}  // namespace graft
