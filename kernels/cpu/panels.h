// The vectorised inside of matrix products: packing into panels, and the micro-kernel over them.
#pragma once
#include <cstdint>

#include "dispatch.h"

namespace graft {

/** Longer sums are made of parts of this length. A panel of B (kDepth × 32 floats) stays in the first-level cache. */
inline constexpr int64_t kDepth = 384;

/** Rows and columns of the micro-kernel's tile. */
GRAFT_VARIANTS(void, gemmTile, (int* mr, int* nr))
/** Packs panels of `width` rows of an operand (element (i, p) at x[i·rs + p·cs], storage as int), zero beyond `rows`. */
GRAFT_VARIANTS(void, gemmPack, (const void* x, int storage, int64_t rs, int64_t cs, int64_t rows, int64_t depth, int width, float* out))
/**
 * C (m × n, row stride ldc) = alpha · packed A · packed B + add + bias; add (row stride ldc; may be C itself) and bias may be null.
 */
GRAFT_VARIANTS(void, gemmBlock, (const float* a, const float* b, int64_t m, int64_t n, int64_t depth, float* c, int64_t ldc, float alpha,
                                 const float* add, const float* bias))

}  // namespace graft
