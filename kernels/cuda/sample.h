// Shared by sample.cc and sample.cu.
#pragma once

#include "types.h"

/** What a token is drawn from: see src/ops/sample.ts. */
struct Sampling { Index n; double temperature, topP, minP; int topK, unused; };
