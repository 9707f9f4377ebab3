// Shared by reduce.cc, reduce.cu and whoever adds up partial sums.
#pragma once

#include "types.h"

/** Codes of graft::Reduction (cpu/reduce.h). */
enum Folding { kSum, kProd, kMax, kMin, kEvery, kSome };
