// Shared by attention.cc and the kernels of attention.
#pragma once

#include "types.h"

/** One text: where its rows begin in q and in k, how many there are, and from which query on a causal head sees a key for certain. */
struct Text { Index queriesBefore, keysBefore; int queries, keys, firstSure, unused; };

struct Heads {
  int H, Hkv, width, causal;
  float scale, keep;
  unsigned key0, key1, below;  // of dropout; below 0 drops nothing
  int room;                    // keys per text in `bias`
};

/** For heads of at most `width`: warps a block, of 16 rows each, and rows of the tiles it goes through. */
struct AttentionTile { int width, warps, rows; };
constexpr AttentionTile kForwardTiles[] = {{32, 4, 32}, {64, 4, 32}, {128, 4, 32}, {256, 2, 16}};
constexpr AttentionTile kGradientTiles[] = {{32, 4, 32}, {64, 4, 32}, {128, 2, 32}, {256, 1, 16}};
/** The same where products are formed in bf16, which takes half the room. */
constexpr AttentionTile kForwardTilesBf16[] = {{32, 4, 64}, {64, 4, 64}, {128, 4, 64}, {256, 4, 32}};
constexpr AttentionTile kGradientTilesBf16[] = {{32, 4, 64}, {64, 4, 64}, {128, 4, 32}, {256, 2, 16}};
/** Values of `bytes` in a row in shared memory: lanes that read a fragment meet different banks. */
constexpr int rowLength(int width, int bytes) { return width + 16 / bytes; }
