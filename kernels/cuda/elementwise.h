// Shared by elementwise.cc and elementwise.cu.
#pragma once

#include "types.h"

constexpr int kAxes = 8;

/** How the elements of two operands are found, axis 0 the innermost: element i has (i / (size[0] … size[k-1])) % size[k] on axis k. */
struct TwoOperands {
  int rank;
  unsigned size[kAxes];
  Index stepA[kAxes], stepB[kAxes];
};
