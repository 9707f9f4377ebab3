// Conversions between storages.
#pragma once

#include "core.h"
#include "dispatch.h"

namespace graft {

/** Elements [begin, begin + n) of any storage as float32. */
void toFloat(const Buffer& b, int64_t begin, int64_t n, float* out);

/** n values of `storage` (Storage as int; not F32) as float32. */
GRAFT_VARIANTS(void, widen, (const void* from, int storage, float* out, int64_t n))

}  // namespace graft
