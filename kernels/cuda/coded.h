// Shared by coded.cc and coded.cu.
#pragma once

#include "types.h"

/** Where the parts of a coded weight lie in its memory, in bytes: the codes at 0. See cpu/coded.h. */
struct CodedParts {
  Index count, columns, shares, scales, dynamic;
  float mean;
  int unused;
};
