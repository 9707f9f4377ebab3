// 3 × 3 convolutions of stride 1 by minimal filtering F(4×4, 3×3) (Winograd 1980; Lavin & Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2016): a tile of 4 × 4 output pixels is Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A of 6 × 6 input pixels, 36 products instead of 144. Filters
// that are frozen are transformed once.
#pragma once

#include "dispatch.h"

namespace graft {

/** Output pixels of a tile along an axis, and input pixels. */
constexpr int kTileOut = 4, kTileIn = 6, kTilePoints = kTileIn * kTileIn;

/** What of a tile lies within its image: rows [top, bottom) and columns [left, right). */
struct TileEdges {
  int64_t top, bottom, left, right;
};

/**
 * u + point·step ← (Bᵀ d B) of one tile, channel by channel, zeros for d outside `inside`. Pixel (i, j) of the tile is at
 * x + i·rowStep + j·channels; u has room for whole vectors.
 */
GRAFT_VARIANTS(void, winogradInput, (const float* x, int64_t rowStep, TileEdges inside, int64_t channels, float* u, int64_t step))
/** y [tiles, yRow] ← u [tiles, uRow] · v [depth, convPanel()] for `cols` ≤ convPanel() columns, rounded up to whole vectors. */
GRAFT_VARIANTS(void, winogradProduct, (const float* u, int64_t uRow, const float* v, int64_t depth, float* y, int64_t yRow, int64_t tiles, int64_t cols))
/** Pixel (i, j) at y + i·rowStep + j·channels, where it is `inside`, ← (Aᵀ m A) + bias; bias or null. m + point·step: whole vectors of channels. */
GRAFT_VARIANTS(void, winogradOutput, (const float* m, int64_t step, int64_t channels, const float* bias, float* y, int64_t rowStep, TileEdges inside))

}  // namespace graft
