// Shared by copy.cc and copy.cu.
#pragma once

#include "types.h"

constexpr int kCopyAxes = 10, kCopyTile = 32;

/** A box of elements by its axes, 0 the innermost: sizes, and steps in both operands. */
struct Box {
  int rank;
  unsigned size[kCopyAxes];
  Index from[kCopyAxes], to[kCopyAxes];
};
