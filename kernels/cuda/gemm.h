// Shared by gemm.cc and gemm.cu.
#pragma once

#include "tile.h"
#include "types.h"

/** C (m × n, dense) = act(alpha · A B + add + bias). Element (i, j) of a matrix lies at i · row + j · column. */
struct Gemm {
  Index m, n, k, rowA, columnA, rowB, columnB, sizeA, sizeB;  // sizes of one matrix of a batch, in elements
  int storageA, storageB, activation;                         // Unary, or -1
  int narrow;                                                 // operands are rounded to bf16 first
  float alpha;
  int vectors;                                                // bf16: of A (1), of B (2) eight neighbours begin where 16 bytes divide
};
