// From codes of weights to their values, in the loops that products read them by.
#pragma once

#include <cstdint>

#include "dispatch.h"

namespace graft {

/** Values [first, first + count) of NF4 codes two a byte, which share a scale. */
GRAFT_VARIANTS(void, decodeNf4, (const uint8_t* codes, int64_t first, int64_t count, float scale, float* out))
GRAFT_VARIANTS(void, decodeInt8, (const int8_t* codes, int64_t count, float scale, float* out))

}  // namespace graft
