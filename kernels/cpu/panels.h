// The vectorised inside of matrix products: packing into panels, and the micro-kernel over them.
#pragma once
#include <cstdint>

#include "dispatch.h"

namespace graft {

/** What panels are made of: a float, or a pair of bf16 that follow each other in depth. */
typedef uint32_t __attribute__((may_alias)) Unit;

/** What multiplies units: pairs in two steps, or by AVX512-BF16 in one. */
enum class Arithmetic : int { floats, pairs, pairsAtOnce };

/** Longer sums are made of parts of this many units. A panel of B (kDepth × 32 units) stays in the first-level cache. */
inline constexpr int64_t kDepth = 384;

/** Rows and columns of the micro-kernel's tile. */
GRAFT_VARIANTS(void, gemmTile, (int* mr, int* nr))
/**
 * Packs panels of `width` rows of an operand (element (i, p) at x[i·rs + p·cs], storage as int), zero beyond `rows`; `half`: as pairs,
 * a zero following the last of an odd depth.
 */
GRAFT_VARIANTS(void, gemmPack, (bool half, const void* x, int storage, int64_t rs, int64_t cs, int64_t rows, int64_t depth, int width, Unit* out))
/**
 * C (m × n, row stride ldc) = alpha · packed A · packed B + add + bias; depth in units; add (row stride ldc; may be C itself) and bias
 * may be null.
 */
GRAFT_VARIANTS(void, gemmBlock, (Arithmetic arithmetic, const Unit* a, const Unit* b, int64_t m, int64_t n, int64_t depth, float* c, int64_t ldc,
                                 float alpha, const float* add, const float* bias))

}  // namespace graft
