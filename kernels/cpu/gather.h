// Indices that lie where they should, or an error.
#pragma once

#include <vector>

#include "core.h"

namespace graft {

/** Row numbers from the index tuples of argument 1. @throws for the first that lies outside. */
std::vector<int64_t> rowsOf(const Args& args, int64_t count, const std::vector<int64_t>& strides, int64_t rows, const char* shape);
/** @throws for the first that is not in [0, axis) */
void checkIndices(const int32_t* indices, int64_t count, int64_t axis);

}  // namespace graft
